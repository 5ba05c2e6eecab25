"""Each preflight check, broken on purpose, stops the job with the right sentence."""

from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.conftest import make_row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import chat
from workflow_scripts.train.preflight import check_adapter, check_batch, check_float8, check_rows
from workflow_scripts.train.rows import Collator, training_row


@pytest.fixture(scope="module")
def loaded(tiny):
    return load(tiny)


@pytest.fixture
def source(root):
    return make_row(root, 2)


@pytest.fixture
def row(loaded, source):
    return training_row(source, Prompt(), loaded)


def test_a_true_row_passes(loaded, row, source):
    check_rows([source], [row], Prompt(), loaded)


def test_the_prompt_part_is_the_inference_prompt(loaded, source, row):
    prompt = loaded.family.prompt_ids(loaded.processor, chat(source.question, len(source.images)), ())
    assert row["input_ids"][: len(prompt)] == prompt
    assert row["labels"][: len(prompt)] == [-100] * len(prompt)


def test_two_bos_are_refused(loaded, row, source):
    row["input_ids"] = [row["input_ids"][0], *row["input_ids"]]
    row["labels"] = [-100, *row["labels"]]
    with pytest.raises(Refused, match="training row row/2 has 2 BOS tokens, expected one"):
        check_rows([source], [row], Prompt(), loaded)


def test_cut_image_tokens_are_refused(loaded, row, source):
    place = row["input_ids"].index(loaded.processor.tokenizer.image_token_id)
    del row["input_ids"][place], row["labels"][place]
    with pytest.raises(Refused, match="training row row/2 has 31 image tokens for 2 images, expected 32"):
        check_rows([source], [row], Prompt(), loaded)


def test_labels_on_the_prompt_are_refused(loaded, row, source):
    row["labels"] = list(row["input_ids"])
    with pytest.raises(Refused, match="expected the answer and the end of turn"):
        check_rows([source], [row], Prompt(), loaded)


def test_labels_without_the_end_of_turn_are_refused(loaded, row, source):
    row["input_ids"], row["labels"] = row["input_ids"][:-1], row["labels"][:-1]
    with pytest.raises(Refused, match="expected the answer and the end of turn"):
        check_rows([source], [row], Prompt(), loaded)


def test_another_prompt_than_inference_asks_is_refused_by_the_rows_name(loaded, row, source):
    for other, prompt in [(replace(source, question="Another?"), Prompt()), (source, Prompt(system="Be brief."))]:
        with pytest.raises(Refused, match="training row row/2: its prompt is not the one that inference will ask"):
            check_rows([other], [row], prompt, loaded)


def test_missing_or_wrong_token_types_are_refused(loaded, row, root):
    batch = Collator(loaded, root, None)([row])
    check_batch(batch, loaded)
    for wrong in (torch.zeros_like(batch["token_type_ids"]), None):
        with pytest.raises(Refused, match="no token_type_ids, or wrong ones: tokens would not see what they should"):
            check_batch(batch | {"token_type_ids": wrong}, loaded)


def test_a_missing_image_is_refused(loaded, row, root):
    batch = Collator(loaded, root, None)([row])
    with pytest.raises(Refused, match="the batch's images have 2 entries, and it brings 1"):
        check_batch(batch | {"pixels": batch["pixels"][:1]}, loaded)


def test_an_adapter_outside_the_recipes_targets_is_refused(tiny):
    loaded = load(tiny)
    model = get_peft_model(loaded.model, LoraConfig(r=2, target_modules="all-linear"))
    tower = loaded.family.vision_tower(loaded.base)
    with pytest.raises(Refused, match=r"unexpected: \['base_model\.model\.model\.vision_tower"):
        check_adapter(model, "language", tower)
    check_adapter(model, "all-linear", tower)


def test_8_bit_products_on_a_device_without_them_are_refused_before_any_work():
    with pytest.raises(Refused, match="fp8 needs an H100 or newer, and this job has the CPU: set fp8 to false"):
        check_float8(torch.device("cpu"), "gemma3_text")


def test_a_batch_that_shows_other_images_than_it_has_is_refused(loaded, row, root):
    with pytest.raises(Refused, match=r"rows of a batch show .* image tokens, and their images have"):
        Collator(loaded, root, None)([row | {"image_sizes": row["image_sizes"][:1]}])
