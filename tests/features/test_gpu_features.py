"""On a Hopper: vision attention and the tower in few passes against the library's, and features through them."""

import pytest
import torch

from tests.conftest import make_row
from workflow_scripts.core.rows import Image, Row
from workflow_scripts.core.tables import write_rows
from workflow_scripts.features import extract as module

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability()[0] != 9, reason="needs an H100 or H200"
)


def joint_product(images, patches, heads, head, rise=1.0):
    """Random queries, keys and values in the order that attention wants; keys from the 200th patch on are `rise`d."""
    from workflow_scripts.models.fused.vision.attention import joined, parts_of

    torch.manual_seed(0)
    each = [torch.randn(heads * head, images * patches, device="cuda") for _ in range(3)]
    each[1][:, 200:] *= rise
    parts = parts_of(head)
    return joined(*each, parts, one=1).t().to(torch.bfloat16).contiguous(), parts


def by_library(product, images, heads, parts):
    from workflow_scripts.models.fused.vision.attention import parted

    each = [x.float().unflatten(0, (images, -1)).transpose(1, 2) for x in parted(product, heads, parts)]
    return torch.nn.functional.scaled_dot_product_attention(*each).transpose(1, 2).flatten(0, 1).flatten(1)


@pytest.mark.parametrize("running", [False, True])
@pytest.mark.parametrize(("images", "patches", "heads", "head"), [(2, 4096, 16, 72), (3, 256, 2, 64), (5, 384, 3, 24)])
def test_attention_is_the_librarys(images, patches, heads, head, running):
    from workflow_scripts.models.fused.vision.attention import attend

    product, parts = joint_product(images, patches, heads, head)
    risen = torch.zeros(1, dtype=torch.int32, device="cuda")
    got = attend(product, images, heads, parts, risen, running=running)
    wanted = by_library(product, images, heads, parts)
    assert not risen.item()
    assert (got.float() - wanted).norm() < 5e-3 * wanted.norm()


def test_scores_that_rise_too_far_are_noticed_and_computed_with_the_greatest_so_far():
    from workflow_scripts.models.fused.vision.attention import attend

    product, parts = joint_product(2, 512, 2, 72, rise=80.0)
    risen = torch.zeros(1, dtype=torch.int32, device="cuda")
    attend(product, 2, 2, parts, risen)
    assert risen.item()
    risen.zero_()
    got, wanted = attend(product, 2, 2, parts, risen, running=True), by_library(product, 2, 2, parts)
    assert not risen.item()
    assert (got.float() - wanted).norm() < 5e-3 * wanted.norm()


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    """A random Gemma 3 with 256 patches an image and heads of 72 in its tower."""
    from transformers import Gemma3ForConditionalGeneration, Gemma3ImageProcessorPil

    from workflow_scripts.models.record import write_record
    from workflow_scripts.synthetic.pretraining import build_model, build_processor

    folder = tmp_path_factory.mktemp("models") / "wide"
    processor = build_processor(vocabulary=600, seed=0)
    processor.image_processor = Gemma3ImageProcessorPil(size={"height": 224, "width": 224}, do_pan_and_scan=False)
    config = build_model(processor, width=64, layers=2, seed=0).config
    config.vision_config.update(
        {"hidden_size": 144, "num_attention_heads": 2, "intermediate_size": 320, "image_size": 224}
    )
    torch.manual_seed(0)
    model = Gemma3ForConditionalGeneration(config)
    for parameter in model.model.vision_tower.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    write_record(folder.with_suffix(".json"), "wide", "gemma3", folder, None)
    return folder.with_suffix(".json")


def images_of(root) -> list[Image]:
    return [image for number in range(0, 8, 2) for image in make_row(root, number).images]


@torch.inference_mode()
def by_the_librarys_tower(record, root, images):
    from workflow_scripts.core.images import open_image
    from workflow_scripts.models.loading import load

    loaded = load(record)
    pixels = [loaded.family.pixels(loaded.processor, open_image(root, image.path)) for image in images]
    return loaded.family.features(
        loaded.base.float(), loaded.processor, torch.cat(pixels).cuda(), [(112, 96)] * len(images)
    ).cpu()


@pytest.mark.parametrize(("fp8", "largest"), [(False, 2e-2), (True, 0.15)])
def test_features_through_few_passes_are_the_librarys(record, root, fp8, largest):
    from workflow_scripts.features.towers import FEW_PASSES, FEW_PASSES_FLOAT8, speed_up_tower
    from workflow_scripts.models.loading import load

    images, loaded = images_of(root), load(record)
    wanted = by_the_librarys_tower(record, root, images)
    assert speed_up_tower(loaded, len(images), fp8=fp8) == (FEW_PASSES_FLOAT8 if fp8 else FEW_PASSES)
    got = module.compute(loaded, images, module.prepared(loaded, images, root, 2), batch=3)
    assert got.dtype == torch.bfloat16 and got.shape == wanted.shape
    assert (got.float() - wanted).norm() < largest * wanted.norm()


def test_a_batch_whose_scores_rise_is_computed_again(record, root, capsys):
    from workflow_scripts.features.towers import speed_up_tower
    from workflow_scripts.models.loading import load

    images, loaded = images_of(root), load(record)
    speed_up_tower(loaded, len(images), fp8=False)
    wanted = module.compute(loaded, images, module.prepared(loaded, images, root, 0), batch=3)
    tower = loaded.family.vision_tower(loaded.base)
    forward = tower.forward

    def spoilt(*args, **kwargs):
        output = forward(*args, **kwargs)
        if not tower._running:
            output.last_hidden_state.fill_(float("nan"))
            tower._risen.fill_(1)
        return output

    tower.forward = spoilt
    got = module.compute(loaded, images, module.prepared(loaded, images, root, 0), batch=3)
    torch.testing.assert_close(got, wanted, atol=3e-2, rtol=3e-2)
    assert "the greatest so far is kept from here on" in capsys.readouterr().out


def test_the_step_says_which_tower_computes(record, root, tmp_path, capsys):
    split = tmp_path / "rows.parquet"
    write_rows(split, [make_row(root, number) for number in range(8)], Row)
    index, store = tmp_path / "index.parquet", tmp_path / "store"
    module.extract(split=split, root=root, model=record, index=index, store=store, batch=3, threads=2)
    assert "vision tower: in few passes\n" in capsys.readouterr().out
    (entry,) = store.rglob("entry.json")
    assert '"tower": "in few passes"' in entry.read_text()
