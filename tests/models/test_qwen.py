"""The Qwen-VL families: image tokens, positions and prompts are the library's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.models.tiny.qwen import build_qwen2_5_vl, build_qwen3_vl
from workflow_scripts.models.families.family import arguments
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import write_record

BUILDERS = {"qwen3_vl": build_qwen3_vl, "qwen2_5_vl": build_qwen2_5_vl}


@pytest.fixture(scope="module", params=BUILDERS)
def loaded(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "model"
    BUILDERS[request.param](folder)
    write_record(folder.with_suffix(".json"), "model", request.param, folder, None)
    return load(folder.with_suffix(".json"))


SIZE = st.tuples(st.integers(9, 400), st.integers(9, 400))


@settings(max_examples=40, deadline=None)
@given(size=SIZE)
def test_an_image_has_as_many_patches_and_tokens_as_the_processor_makes(loaded, size):
    family, processor = loaded.family, loaded.processor
    patches = processor.image_processor([Image.new("RGB", size)], return_tensors="pt")
    assert patches["image_grid_thw"].tolist() == [[1, *family.grid(processor, size)]]
    assert len(patches["pixel_values"]) == 4 * family.image_tokens(processor, size)


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(st.lists(SIZE, max_size=3), min_size=1, max_size=4), left=st.booleans(), words=st.integers(0, 30))
def test_positions_are_those_that_the_model_counts_itself(loaded, rows, left, words):
    family, processor = loaded.family, loaded.processor
    prompts = [
        family.prompt_ids(processor, chat("a " * (words + 3 * n), len(sizes)), sizes) for n, sizes in enumerate(rows)
    ]
    longest = max(map(len, prompts))
    pad = processor.tokenizer.pad_token_id
    padded = [[pad] * (longest - len(p)) + p if left else p + [pad] * (longest - len(p)) for p in prompts]
    ids = torch.tensor(padded)
    lengths = torch.tensor([len(p) for p in prompts])[:, None]
    places = torch.arange(longest)
    mask = ((places >= longest - lengths) if left else (places < lengths)).long()
    sizes = [size for row in rows for size in row]
    wanted, _ = loaded.model.model.get_rope_index(
        ids,
        mm_token_type_ids=(ids == family.image_token_id(processor)).int(),
        image_grid_thw=family.grids(processor, sizes, ids.device) if sizes else None,
        attention_mask=mask,
    )
    got = arguments(family.text_inputs(processor, ids, mask, rows))["position_ids"]
    assert torch.equal(got, wanted)


def test_a_prompt_is_worded_as_the_template_words_it(loaded):
    family, processor = loaded.family, loaded.processor
    sizes = [(64, 48), (96, 96)]
    ids = family.prompt_ids(processor, chat("How many <|image_pad|>?", 2, "Be brief."), sizes)
    first, second = (
        "<|vision_start|>" + "<|image_pad|>" * family.image_tokens(processor, size) + "<|vision_end|>" for size in sizes
    )
    text = f"<|im_start|>user\n{first}{second}How many <|image_pad|>?<|im_end|>\n<|im_start|>assistant\n"
    assert processor.tokenizer.decode(ids) == "<|im_start|>system\nBe brief.<|im_end|>\n" + text
    shown = sum(family.image_tokens(processor, size) for size in sizes)
    assert ids.count(processor.image_token_id) == shown  # the question's own word is text


def test_an_images_pixels_differ_from_another_images(loaded):
    family, processor = loaded.family, loaded.processor
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    assert not torch.equal(family.pixels(processor, noise), family.pixels(processor, Image.new("RGB", (60, 40))))
