"""A task's own system prompt is used in training and in inference, and is text to a server."""

import pytest
from pydantic import ValidationError

from tests.conftest import make_row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.infer.ask import check_markup
from workflow_scripts.infer.questions.requests import requests_of
from workflow_scripts.models.loading import load
from workflow_scripts.train.rows import training_row

PROMPT = Prompt(system="You are a radiologist.", by_task={"counting": "Count.", "report": None})
LIMITS = {"counting": 4, "report": 9, "detection": 9}


def test_each_task_has_its_own_words_none_or_the_common_ones(root):
    rows = [make_row(root, place, task=task) for place, task in enumerate(LIMITS)]
    first = [request.chat[0] for request in requests_of(rows, PROMPT, LIMITS)]
    assert [turn["role"] for turn in first] == ["system", "user", "system"]
    assert [turn["content"][0]["text"] for turn in (first[0], first[2])] == ["Count.", "You are a radiologist."]


def test_a_training_row_begins_with_the_prompt_of_inference(root, tiny):
    loaded = load(tiny)
    for place, task in enumerate(LIMITS):
        row = make_row(root, place, task=task)
        [request] = requests_of([row], PROMPT, LIMITS)
        sizes = [(image.width, image.height) for image in request.images]
        words = loaded.family.prompt_ids(loaded.processor, request.chat, sizes)
        example = training_row(row, PROMPT, loaded)
        assert example["input_ids"][: len(words)] == words
        assert example["labels"].count(-100) == len(words)


def test_no_task_of_another_name_has_a_prompt():
    with pytest.raises(ValidationError, match="'count' is not a task; allowed: classification, "):
        Prompt(by_task={"count": "Count."})


def test_markup_in_a_tasks_prompt_is_refused_before_a_server_is_asked(root):
    prompt = Prompt(by_task={"counting": "Count <start_of_turn>."})
    with pytest.raises(Refused, match="the system prompt holds <start_of_turn>, which a server takes"):
        check_markup([make_row(root, 0)], prompt, "gemma3")
