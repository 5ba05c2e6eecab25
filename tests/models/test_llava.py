"""LLaVA 1.5: prompt, padding, features, and what adapters touch."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from PIL import Image

from tests.models.tiny import llava as tiny
from workflow_scripts.models.families.llava import FAMILY, square
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.models.record import write_record

SIZE = (120, 90)
TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() }}: {% for part in message['content'] %}"
    "{% if part['type'] == 'image' %}<image>\n{% else %}{{ part['text'] }} {% endif %}"
    "{% endfor %}{% endfor %}ASSISTANT:"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "llava"
    tiny.build(path)
    return path


@pytest.fixture(scope="module")
def loaded(folder):
    write_record(folder.with_suffix(".json"), "llava", "llava", folder, None)
    return load(folder.with_suffix(".json"))


def images(count, seed=1):
    rng = np.random.default_rng(seed)
    return [Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)) for _ in range(count)]


def pixels_of(loaded, some):
    return torch.cat([FAMILY.pixels(loaded.processor, image) for image in some])


def ids_of(loaded, question, count, system=None):
    return FAMILY.prompt_ids(loaded.processor, chat(question, count, system), [SIZE] * count)


def padded(rows, pad):
    longest = max(map(len, rows))
    ids = torch.tensor([[pad] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


# prompts


@pytest.mark.parametrize("count", [0, 1, 2])
def test_without_a_template_the_prompt_is_llava_meds(loaded, count):
    text = loaded.processor.tokenizer.decode(ids_of(loaded, "Is there a mass?", count))
    assert text == "<s>[INST] " + ("<image>" * tiny.TOKENS + "\n") * count + "Is there a mass? [/INST]"


def test_a_system_turn_stands_in_the_first_instruction(loaded):
    text = loaded.processor.tokenizer.decode(ids_of(loaded, "Which?", 0, "Be brief."))
    assert text == "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nWhich? [/INST]"


@pytest.mark.parametrize("begin", ["", "<s>"])
def test_a_template_of_the_checkpoint_is_used_with_one_bos(folder, begin):
    processor = FAMILY.load_processor(folder)
    processor.chat_template = begin + TEMPLATE
    ids = FAMILY.prompt_ids(processor, chat("Is there a mass?", 1), [SIZE])
    text = "<s>USER: " + "<image>" * tiny.TOKENS + "\nIs there a mass? ASSISTANT:"
    assert processor.tokenizer.decode(ids) == text
    assert FAMILY.bos_place(processor, [SIZE]) == 0


def test_marks_in_a_question_are_text(loaded):
    tokenizer, image = loaded.processor.tokenizer, loaded.processor.image_token_id
    ids = ids_of(loaded, "Is <image> or </s> shown?", 1)
    assert ids.count(image) == tiny.TOKENS == FAMILY.image_tokens(loaded.processor, SIZE)
    assert tokenizer.eos_token_id not in ids
    assert FAMILY.answer_ids(loaded.processor, "A </s> B").count(tokenizer.eos_token_id) == 1


def test_a_processor_that_was_published_without_its_sizes_is_completed(folder, loaded):
    processor = FAMILY.load_processor(folder)
    assert (processor.patch_size, processor.num_additional_image_tokens) == (tiny.PATCH, 1)
    own = loaded.processor(images=images(1), text="<image>")["input_ids"][0]
    assert list(own).count(processor.image_token_id) == FAMILY.image_tokens(processor, SIZE)


# images


@pytest.mark.parametrize(("size", "place"), [((6, 2), (0, 2)), ((2, 5), (1, 0)), ((3, 3), (0, 0))])
def test_an_image_is_padded_to_a_square_with_the_mean_colour(size, place):
    image = Image.new("RGB", size, (1, 2, 3))
    padded_image = np.asarray(square(image, (0.48145466, 0.4578275, 0.40821073)))
    side, (left, top) = max(size), place
    expected = np.full((side, side, 3), (122, 116, 104), dtype=np.uint8)
    expected[top : top + size[1], left : left + size[0]] = (1, 2, 3)
    assert np.array_equal(padded_image, expected)


@torch.inference_mode()
def test_stored_features_give_the_logits_of_pixels_bit_by_bit(loaded):
    rows = [ids_of(loaded, "How many?", 2), ids_of(loaded, "What is the number of cells in this image?", 1)]
    inputs = padded(rows, loaded.processor.tokenizer.pad_token_id)
    pixels, sizes = pixels_of(loaded, images(3)), [SIZE] * 3
    features = FAMILY.features(loaded.base, loaded.processor, pixels, sizes)
    assert features.shape == (3 * tiny.TOKENS, FAMILY.feature_width(loaded.base.config))
    outputs = FAMILY.encoder_outputs(loaded.base, loaded.processor, features, sizes)
    assert torch.equal(loaded.base(**inputs, **outputs).logits, loaded.base(**inputs, pixel_values=pixels).logits)


@torch.inference_mode()
def test_features_are_of_the_last_layer_but_one_without_the_class_token(loaded):
    pixels = pixels_of(loaded, images(1))
    tower = loaded.base.model.vision_tower
    hidden = tower.pre_layrnorm(tower.embeddings(pixels))
    for layer in list(tower.encoder.layers)[:-1]:
        hidden = layer(hidden, None)
    features = FAMILY.features(loaded.base, loaded.processor, pixels, [SIZE])
    torch.testing.assert_close(features, hidden[0, 1:])


@torch.inference_mode()
def test_images_are_visible_to_the_model(loaded):
    ids = torch.tensor([ids_of(loaded, "How many?", 1)])
    one, other = (
        loaded.base(input_ids=ids, pixel_values=pixels_of(loaded, [image])).logits[0, -1] for image in images(2)
    )
    assert (one - other).abs().max() > 1e-3


# training


def test_adapters_touch_the_language_model_alone(folder):
    model = get_peft_model(FAMILY.load_model(folder), LoraConfig(r=2, target_modules=FAMILY.lora_targets["language"]))
    touched = [name.removeprefix("base_model.model.") for name, _ in model.named_modules() if name.endswith(".lora_A")]
    assert len(touched) == 2 * 7
    assert all(name.startswith("model.language_model.layers.") for name in touched)


def test_thirty_steps_lower_the_loss(folder):
    torch.manual_seed(0)
    processor = FAMILY.load_processor(folder)
    model = get_peft_model(FAMILY.load_model(folder), LoraConfig(r=4, target_modules=FAMILY.lora_targets["language"]))
    prompt = FAMILY.prompt_ids(processor, chat("How many cells?", 1), [SIZE])
    ids = torch.tensor([prompt + FAMILY.answer_ids(processor, "12 cells")])
    labels = ids.clone()
    labels[:, : len(prompt)] = -100
    pixels = torch.cat([FAMILY.pixels(processor, image) for image in images(1)])
    optimiser = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    losses = []
    for _ in range(30):
        loss = model(input_ids=ids, pixel_values=pixels, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
