"""Families that cut images into tiles: their prompts and tiles are those of the library's own processors."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from tests.models.tiny import idefics3 as tiny_idefics3
from tests.models.tiny import internvl as tiny_internvl
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.families.idefics3 import FAMILY as idefics3
from workflow_scripts.models.families.idefics3 import image_text, tiles
from workflow_scripts.models.families.internvl import FAMILY as internvl
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import write_record

TINY = {"idefics3": tiny_idefics3, "internvl": tiny_internvl}
FAMILIES = {"idefics3": idefics3, "internvl": internvl}
SIZES = [(20, 20), (32, 32), (33, 32), (96, 96), (97, 40), (40, 97), (300, 20), (7, 200), (640, 480), (31, 64)]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    models = {}
    for name, tiny in TINY.items():
        folder = tmp_path_factory.mktemp("models") / name
        tiny.build(folder)
        write_record(folder.with_suffix(".json"), name, name, folder, None)
        models[name] = load(folder.with_suffix(".json"))
    return models


def image_of(size, seed=1):
    pixels = np.random.default_rng(seed).integers(0, 255, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def by_the_library(processor, question, images, system=None):
    text = processor.apply_chat_template(
        chat(question, len(images), system), add_generation_prompt=True, tokenize=False
    )
    return processor(text=text, images=images or None, add_special_tokens=False, return_tensors="pt")


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("system", [None, "You are an expert."])
@pytest.mark.parametrize("count", [1, 2, 4])
def test_prompt_ids_are_the_processors(loaded, name, count, system):
    family, processor = FAMILIES[name], loaded[name].processor
    for first in range(0, len(SIZES) - count + 1, count):
        sizes = SIZES[first : first + count]
        question = "Which shape is shown?\n\nOptions: A) disc B) ring"
        expected = by_the_library(processor, question, [image_of(size) for size in sizes], system)
        ids = family.prompt_ids(processor, chat(question, count, system), sizes)
        assert ids == expected["input_ids"][0].tolist()
        shown = sum(family.image_tokens(processor, size) for size in sizes)
        assert ids.count(family.image_token_id(processor)) == shown


@pytest.mark.parametrize("name", FAMILIES)
def test_pixels_are_the_processors(loaded, name):
    family, processor = FAMILIES[name], loaded[name].processor
    for size in SIZES:
        expected = by_the_library(processor, "?", [image_of(size)])["pixel_values"]
        pixels = family.pixels(processor, image_of(size))
        assert torch.equal(pixels, expected.reshape(-1, *expected.shape[-3:]))
        tokens = loaded[name].processor.image_seq_len if name == "idefics3" else processor.image_seq_length
        assert len(pixels) * tokens == family.image_tokens(processor, size)


@pytest.mark.parametrize("name", FAMILIES)
def test_tiles_follow_from_any_size(loaded, name):
    family, processor = FAMILIES[name], loaded[name].processor
    chance = random.Random(3)
    for _ in range(150):
        size = (chance.randint(4, 400), chance.randint(4, 400))
        entries = len(family.pixels(processor, Image.new("RGB", size, (9, 99, 200))))
        assert family.image_tokens(processor, size) == entries * 4


@pytest.mark.parametrize("name", FAMILIES)
def test_features_give_the_logits_of_pixels_bit_by_bit(loaded, name):
    family, (model, processor) = FAMILIES[name], (loaded[name].model, loaded[name].processor)
    sizes = [(96, 40), (20, 20), (64, 90)]
    ids = torch.tensor([family.prompt_ids(processor, chat("How many?", 3), sizes)])
    pixels = torch.cat([family.pixels(processor, image_of(size)) for size in sizes])
    with torch.inference_mode():
        seen = model(input_ids=ids, **family.pixel_inputs(processor, pixels, sizes)).logits
        features = family.features(model, processor, pixels, sizes)
        stored = model(input_ids=ids, **family.encoder_outputs(model, processor, features, sizes)).logits
        blind = model(
            input_ids=ids, **family.encoder_outputs(model, processor, torch.zeros_like(features), sizes)
        ).logits
    assert features.shape == (sum(family.image_tokens(processor, size) for size in sizes), 64)
    assert family.feature_width(model.config) == 64
    assert torch.equal(seen, stored)
    assert not torch.allclose(seen, blind, atol=1e-3)


@pytest.mark.parametrize("name", FAMILIES)
def test_features_of_an_image_do_not_depend_on_the_others(loaded, name):
    family, (model, processor) = FAMILIES[name], (loaded[name].model, loaded[name].processor)
    sizes = [(96, 40), (20, 20), (64, 90)]
    alone = []
    with torch.inference_mode():
        for size in sizes:
            alone.append(family.features(model, processor, family.pixels(processor, image_of(size)), [size]))
        pixels = torch.cat([family.pixels(processor, image_of(size)) for size in sizes])
        together = family.features(model, processor, pixels, sizes)
    assert torch.allclose(torch.cat(alone), together, atol=1e-6)


@pytest.mark.parametrize(("name", "word"), [("idefics3", "<image>"), ("internvl", "<IMG_CONTEXT>")])
def test_a_question_that_holds_the_image_token_stays_text(loaded, name, word):
    family, processor = FAMILIES[name], loaded[name].processor
    question = f"Is {word} an image?"
    ids = family.prompt_ids(processor, chat(question, 1), [(20, 20)])
    assert ids.count(family.image_token_id(processor)) == family.image_tokens(processor, (20, 20))
    assert question in processor.tokenizer.decode(ids)


@pytest.mark.parametrize("name", FAMILIES)
def test_an_answer_ends_its_turn(loaded, name):
    family, tokenizer = FAMILIES[name], loaded[name].processor.tokenizer
    ids = family.answer_ids(loaded[name].processor, "17")
    assert tokenizer.decode(ids) == "17" + family.end_of_answer(loaded[name].processor)
    assert ids[-1] == tokenizer.convert_tokens_to_ids(family.end_of_answer(loaded[name].processor))


@pytest.mark.parametrize("grid", [(0, 0), (1, 2), (3, 3), (2, 1)])
def test_smolvlms_own_processor_writes_an_image_the_same_way(loaded, grid):
    processor = loaded["idefics3"].processor
    expected = get_image_prompt_string(*grid, 4, "<fake_token_around_image>", "<image>", "<global-img>")
    assert image_text(processor, *grid) == expected


def test_a_checkpoint_of_smolvlm_is_of_this_family(loaded, tmp_path):
    given = loaded["idefics3"]
    shape = {name: getattr(given.model.config, name).to_dict() for name in ("text_config", "vision_config")}
    shape["vision_config"].pop("model_type")
    config = SmolVLMConfig(**shape, image_token_id=given.processor.image_token_id, scale_factor=2)
    model = SmolVLMForConditionalGeneration(config)
    model.load_state_dict(given.model.state_dict())
    model.save_pretrained(tmp_path / "smolvlm")
    given.processor.save_pretrained(tmp_path / "smolvlm")
    write_record(tmp_path / "smolvlm.json", "smolvlm", "idefics3", tmp_path / "smolvlm", None)
    opened = load(tmp_path / "smolvlm.json")
    assert type(opened.model) is SmolVLMForConditionalGeneration
    sizes = [(96, 40)]
    pixels = idefics3.pixels(opened.processor, image_of(sizes[0]))
    with torch.inference_mode():
        both = [idefics3.features(each.model, each.processor, pixels, sizes) for each in (given, opened)]
    assert torch.equal(*both)


def test_a_checkpoint_of_another_class_is_refused(loaded, tmp_path):
    tiny_internvl.build(tmp_path / "other")
    write_record(tmp_path / "other.json", "other", "idefics3", tmp_path / "other", None)
    with pytest.raises(BadFile, match="model_type is internvl, expected idefics3 or smolvlm; set another family"):
        load(tmp_path / "other.json")


@pytest.mark.parametrize(
    ("longest", "size", "grid"),
    [
        (2048, (512, 512), (4, 4)),
        (2048, (1000, 500), (2, 4)),
        (1536, (300, 900), (3, 1)),
        (512, (300, 300), (0, 0)),
        (1456, (1456, 20), (1, 3)),
    ],
)
def test_tiles_of_published_shapes(loaded, longest, size, grid):
    processor = loaded["idefics3"].processor
    kind = type(processor.image_processor)
    shaped = type(processor)(
        kind(size={"longest_edge": longest}, max_image_size={"longest_edge": 512}), processor.tokenizer, 64
    )
    assert tiles(shaped, size) == grid
    assert idefics3.image_tokens(shaped, size) == 64 * (grid[0] * grid[1] + 1)
