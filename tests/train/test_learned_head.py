"""Log-probabilities of learned tokens: the same as TRL's head, with no mask that the processor has to wait for."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.train.loop.head import LearnedHead
from workflow_scripts.train.rows import COUNTS, LEARNED, flat_places, learned_places, part_of

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # TRL's kernel goes by whether Triton is there
ROW = st.tuples(st.integers(2, 12), st.integers(0, 8))  # tokens of the prompt, and of the answer
VOCABULARY = 97


def labels_of(lengths):
    labels = torch.full((len(lengths), max(map(sum, lengths))), -100)
    for row, (prompt, answer) in enumerate(lengths):
        labels[row, prompt : prompt + answer] = torch.arange(answer) + row
    return labels


def batch_of(labels):
    counts = (labels[:, 1:] != -100).sum(1).tolist()
    return {"labels": labels, LEARNED: learned_places(labels), COUNTS: counts}


@given(st.lists(ROW, min_size=1, max_size=5))
def test_flat_places_are_those_before_every_learned_token_row_by_row(lengths):
    labels = labels_of(lengths)
    expected = [place - 1 for place, label in enumerate(labels.flatten().tolist()) if label != -100]
    assert flat_places(batch_of(labels)).tolist() == expected


@given(st.lists(ROW, min_size=2, max_size=5), st.data())
def test_a_part_of_a_batch_has_its_own(lengths, draw):
    labels = labels_of(lengths)
    mask = torch.zeros_like(labels)
    for row, pair in enumerate(lengths):
        mask[row, : sum(pair)] = 1
    rows = draw.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, unique=True))
    part = part_of(batch_of(labels) | {"attention_mask": mask}, rows)
    expected = [place - 1 for place, label in enumerate(part["labels"].flatten().tolist()) if label != -100]
    assert flat_places(part).tolist() == expected


@pytest.mark.parametrize("cap", [None, 5.0])
def test_losses_metrics_and_gradients_are_those_of_trls_head(cap):
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig
    from trl.trainer.utils import add_fused_lm_head

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        final_logit_softcapping=cap,
    )
    model = Gemma3ForCausalLM(config).to(DEVICE)
    add_fused_lm_head(model, outputs=("entropy", "is_top1"))
    labels = labels_of([(3, 5), (6, 1), (2, 7)]).to(DEVICE)
    batch = batch_of(labels)
    ids = torch.randint(3, VOCABULARY, labels.shape, device=DEVICE)
    of_trl = model(input_ids=ids, labels=labels, fused_lm_head=True)
    (-of_trl.log_probs.sum()).backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.forward = LearnedHead(model)
    ours = model(input_ids=ids, labels=labels, learned=flat_places(batch))
    (-ours.log_probs.sum()).backward()
    mask = of_trl.label_mask
    for own, other in zip(ours, (of_trl.log_probs, of_trl.entropy, of_trl.is_top1), strict=True):
        torch.testing.assert_close(own, other[mask].to(own.dtype), rtol=1e-6, atol=2e-6)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-5, atol=1e-6)
    assert model(input_ids=ids).logits.shape == (*ids.shape, VOCABULARY)
