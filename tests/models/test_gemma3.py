"""The Gemma 3 family: prompts, precomputed features, the packed lessons."""

import numpy as np
import pytest
import torch
from PIL import Image

from workflow_scripts.models.families.gemma3 import FAMILY as gemma3
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.synthetic.lessons import lesson
from workflow_scripts.synthetic.pretraining import lesson_batch


@pytest.fixture(scope="module")
def loaded(tiny):
    return load(tiny)


def images(count):
    rng = np.random.default_rng(1)
    return [Image.fromarray(rng.integers(0, 255, (90, 120, 3), dtype=np.uint8)) for _ in range(count)]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("system", [None, "You are an expert."])
def test_prompt_ids_are_what_the_processor_makes_with_one_bos(loaded, count, system):
    messages = chat("Which shape is shown? Options: A) disc B) ring", count, system)
    ids = gemma3.prompt_ids(loaded.processor, messages, ())
    text = loaded.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    own = loaded.processor(images=images(count), text=text, add_special_tokens=False)["input_ids"][0]
    assert ids == list(own)
    assert ids.count(loaded.processor.tokenizer.bos_token_id) == 1
    assert ids.count(loaded.processor.tokenizer.image_token_id) == 16 * count


def test_prompt_is_worded_as_it_was(loaded):
    messages = chat("How many cells?", 1, "Be brief.")
    text = loaded.processor.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert text == (
        "<bos><start_of_turn>user\nBe brief.\n\n<start_of_image>How many cells?<end_of_turn>\n<start_of_turn>model\n"
    )


@torch.inference_mode()
def test_pooled_features_give_the_logits_of_the_pixels(loaded):
    ids = torch.tensor([gemma3.prompt_ids(loaded.processor, chat("How many?", 2), ())])
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "token_type_ids": gemma3.text_inputs(loaded.processor, ids, ids, ())["token_type_ids"],
    }
    pixels = torch.cat([gemma3.pixels(loaded.processor, image) for image in images(2)])
    sizes = [image.size for image in images(2)]
    pooled = gemma3.features(loaded.model, loaded.processor, pixels, sizes)
    assert pooled.shape == (2 * 16, 64)
    plain = loaded.model(**inputs, pixel_values=pixels).logits
    features = loaded.model(**inputs, **gemma3.encoder_outputs(loaded.model, loaded.processor, pooled, sizes)).logits
    torch.testing.assert_close(features, plain, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_images_are_visible_to_the_model(loaded):
    ids = torch.tensor([gemma3.prompt_ids(loaded.processor, chat("How many?", 1), ())])
    inputs = {"input_ids": ids, "token_type_ids": gemma3.text_inputs(loaded.processor, ids, ids, ())["token_type_ids"]}
    one, other = (
        loaded.model(**inputs, pixel_values=gemma3.pixels(loaded.processor, image)).logits[0, -1] for image in images(2)
    )
    assert (one - other).abs().max() > 1e-3


@torch.inference_mode()
def test_packed_lessons_have_the_loss_of_separate_rows(loaded):
    rng = np.random.default_rng(5)
    lessons = [lesson(rng, 2) for _ in range(3)]
    packed = lesson_batch(loaded.processor, lessons)
    labels = packed.pop("labels")[:, 1:]
    scores = loaded.model.lm_head(loaded.model.model(**packed).last_hidden_state[:, :-1]).log_softmax(-1)
    packed_loss = -scores.gather(-1, labels.clamp(min=0)[..., None])[..., 0][labels != -100]
    separate = []
    for item in lessons:
        for question, answer in item.turns:
            prompt = gemma3.prompt_ids(loaded.processor, chat(question, len(item.images)), ())
            target = gemma3.answer_ids(loaded.processor, answer)
            ids = torch.tensor([prompt + target])
            logits = loaded.model(
                input_ids=ids,
                token_type_ids=gemma3.text_inputs(loaded.processor, ids, ids, ())["token_type_ids"],
                pixel_values=torch.cat([gemma3.pixels(loaded.processor, image) for image in item.images]),
            ).logits[0, len(prompt) - 1 : -1]
            separate.append(-logits.log_softmax(-1).gather(-1, torch.tensor(target)[:, None])[:, 0])
    torch.testing.assert_close(packed_loss, torch.cat(separate), atol=1e-4, rtol=1e-4)
