"""The toy model is a function of its settings alone, and what ships is what its record says."""

import shutil
from pathlib import Path

import pytest
import torch
import trl
from safetensors import safe_open

from workflow_scripts.core.files import BadFile, read_json
from workflow_scripts.models.loading import load
from workflow_scripts.models.prompts import answer_turn, chat
from workflow_scripts.models.record import read_record
from workflow_scripts.synthetic.model import ORIGIN, SHIPPED, write_model
from workflow_scripts.synthetic.pretraining import Settings, train_model


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_cores_of_a_run_change_no_bit_of_the_toy_model(threads, tmp_path):
    settings = Settings(width=64, layers=2, vocabulary=600, sight_steps=2, steps=2)
    weights = []
    for count in (1, 4):
        torch.set_num_threads(count)
        train_model(settings, tmp_path / str(count))
        weights.append((tmp_path / str(count) / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_the_shipped_model_loads_whole_from_the_names_that_vllm_knows(tmp_path):
    write_model(record=tmp_path / "toy.json")
    with safe_open(tmp_path / "toy/model.safetensors", "pt") as weights:
        names = set(weights.keys())
    assert {name.split(".")[0] for name in names} == {"language_model", "multi_modal_projector", "vision_tower"}
    assert all(name.startswith("vision_tower.vision_model.") for name in names if name.startswith("vision_tower"))
    model = load(tmp_path / "toy.json").model
    state = model.state_dict()
    assert len(names) == len(state) - 1  # the head is tied to the embedding
    assert not any(parameter.isnan().any() or parameter.is_meta for parameter in state.values())


def test_line_ends_are_tokens_as_in_gemma(tmp_path):
    write_model(record=tmp_path / "toy.json")
    tokenizer = load(tmp_path / "toy.json").processor.tokenizer
    for count in range(1, 5):
        text = "a" + "\n" * count + "b"
        assert tokenizer.tokenize(text)[1] == "\n" * count
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_chat_template_says_to_servers_that_a_message_comes_in_parts():
    """vLLM looks for a loop over a message's own content, and makes one text of the parts where there is none."""
    template = (SHIPPED / "chat_template.jinja").read_text()
    assert "for part in turn.content" in template or "for part in turn['content']" in template


@pytest.mark.parametrize("system", [None, "Be brief."])
@pytest.mark.parametrize("answer", [None, "A"])
@pytest.mark.parametrize("images", [1, 3])
def test_the_toy_chat_template_words_turns_as_gemmas(tmp_path, system, answer, images):
    write_model(record=tmp_path / "toy.json")
    processor = load(tmp_path / "toy.json").processor
    question = chat("Which shape?", images, system)
    messages = question if answer is None else [*question, answer_turn(answer)]
    gemma = (Path(trl.__file__).parent / "chat_templates" / "gemma3.jinja").read_text(encoding="utf-8")
    texts = [
        processor.apply_chat_template(messages, add_generation_prompt=answer is None, **template)
        for template in ({}, {"chat_template": gemma})
    ]
    assert texts[0] == texts[1]


def test_a_shipped_file_that_was_changed_is_refused(tmp_path):
    copy = tmp_path / "toy_model"
    shutil.copytree(SHIPPED, copy)
    shutil.copyfile(ORIGIN, tmp_path / "toy_model.json")
    (copy / "config.json").write_text("{}")
    with pytest.raises(BadFile, match=r"config\.json is not the file that was shipped; restore it: git checkout"):
        write_model(record=tmp_path / "models/tiny.json", shipped=copy)
    assert not (tmp_path / "models/tiny.json").exists()


def test_the_record_of_the_shipped_model_is_the_same_everywhere(tmp_path):
    write_model(record=tmp_path / "tiny.json")
    record, folder = read_record(tmp_path / "tiny.json")
    assert record.files == read_json(ORIGIN)["files"]
    assert record.folder == "tiny" and folder == tmp_path / "tiny"
