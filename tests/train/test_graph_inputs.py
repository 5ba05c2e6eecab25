"""What a captured shape is given of a smaller batch: its states, and tokens filled up that no other token sees."""

import torch

from workflow_scripts.models.fused.training.graphs import Step, fill


def tensors(rows: int, tokens: int, value: float) -> tuple[torch.Tensor, Step]:
    states = torch.full((rows, tokens, 3), value)
    rotation = torch.full((rows, tokens, 2), value)
    mask = torch.ones(rows, 1, tokens, tokens, dtype=torch.bool)
    return states, Step({"full": (rotation, rotation.clone())}, {"full": mask})


def test_a_batch_of_the_captured_shape_is_copied():
    target, batch = tensors(2, 4, 0.0), tensors(2, 4, 5.0)
    fill(*target, *batch)
    assert torch.equal(target[0], batch[0])
    assert torch.equal(target[1].masks["full"], batch[1].masks["full"])


def test_a_smaller_batch_leaves_nothing_of_the_one_before_and_is_seen_by_itself_alone():
    target, batch = tensors(3, 6, 7.0), tensors(2, 4, 5.0)
    fill(*target, *batch)
    states, step = target
    assert states[:2, :4].unique().tolist() == [5.0]
    assert not states[2].any()
    assert not states[:, 4:].any()
    assert not step.rotations["full"][1][:, 4:].any()
    mask = step.masks["full"][:, 0]
    assert mask[:2, :4, :4].all()
    assert not mask[:2, :4, 4:].any()  # nobody sees what is filled up
    own = torch.eye(6, dtype=torch.bool)
    assert torch.equal(mask[2], own)
    assert torch.equal(mask[:2, 4:], own[4:].expand(2, -1, -1))


def test_a_mask_for_one_row_serves_all():
    target, (states, step) = tensors(2, 4, 0.0), tensors(2, 4, 5.0)
    fill(*target, states, Step(step.rotations, {"full": step.masks["full"][:1].tril()}))
    assert target[1].masks["full"][1, 0].tolist() == torch.ones(4, 4, dtype=torch.bool).tril().tolist()
