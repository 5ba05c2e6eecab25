"""Each gate, broken on purpose, stops the job with the right sentence."""

import pytest
from peft import LoraConfig, get_peft_model

from tests.conftest import make_row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.models.loading import load
from workflow_scripts.train.gates import check_adapter, check_rows
from workflow_scripts.train.rows import training_row


@pytest.fixture(scope="module")
def loaded(tiny):
    return load(tiny)


@pytest.fixture
def row(loaded, tree):
    return training_row(make_row(tree, 2), Prompt(), loaded)


def test_a_true_row_passes(loaded, row):
    check_rows([row], ["2"], loaded)


def test_the_prompt_part_is_the_inference_prompt(loaded, tree, row):
    from workflow_scripts.models.prompts import chat

    source = make_row(tree, 2)
    asked = loaded.family.prompt_ids(loaded.processor, chat(source["question"], len(source["images"])))
    assert row["input_ids"][: len(asked)] == asked
    assert row["labels"][: len(asked)] == [-100] * len(asked)


def test_two_bos_are_refused(loaded, row):
    row["input_ids"] = [row["input_ids"][0], *row["input_ids"]]
    row["labels"] = [-100, *row["labels"]]
    with pytest.raises(Refused, match="has 2 BOS tokens, expected one"):
        check_rows([row], ["2"], loaded)


def test_cut_image_tokens_are_refused(loaded, row):
    place = row["input_ids"].index(loaded.processor.tokenizer.image_token_id)
    del row["input_ids"][place], row["labels"][place]
    with pytest.raises(Refused, match="has 31 image tokens for 2 images"):
        check_rows([row], ["2"], loaded)


def test_labels_on_the_prompt_are_refused(loaded, row):
    row["labels"] = list(row["input_ids"])
    with pytest.raises(Refused, match="expected the answer and the end of turn"):
        check_rows([row], ["2"], loaded)


def test_labels_without_the_end_of_turn_are_refused(loaded, row):
    row["input_ids"], row["labels"] = row["input_ids"][:-1], row["labels"][:-1]
    with pytest.raises(Refused, match="expected the answer and the end of turn"):
        check_rows([row], ["2"], loaded)


def test_an_adapter_outside_the_recipes_targets_is_refused(tiny):
    model = get_peft_model(load(tiny).model, LoraConfig(r=2, target_modules="all-linear"))
    with pytest.raises(Refused, match=r"unexpected: \['base_model\.model\.model\.vision_tower"):
        check_adapter(model, "language")
    check_adapter(model, "all-linear")
