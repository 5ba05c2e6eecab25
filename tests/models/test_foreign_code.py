"""Code that a checkpoint brings is never run, and nobody is asked about it; pickles are never loaded."""

import ast
import json
import shutil

import pytest
from transformers import Gemma3Processor

from workflow_scripts import ROOT
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import write_record
from workflow_scripts.models.runtime import identity_of_runtime

MODULES = sorted((ROOT / "workflow_scripts").rglob("*.py"))
WITHOUT_CODE = {"PeftModel"}
"""Loads adapters, which bring no code: it has no such parameter."""


def loader_calls():
    """Every call of `from_pretrained`: what it is called on, and its keywords."""
    for file in MODULES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "from_pretrained":
                keywords = {word.arg: getattr(word.value, "value", None) for word in node.keywords}
                yield f"{file.stem}: {ast.unparse(node.func.value)}", keywords


def test_every_loader_refuses_code_and_reads_this_machine_alone():
    calls = {name: keywords for name, keywords in loader_calls() if name.split(": ")[1] not in WITHOUT_CODE}
    assert len(calls) >= 7
    for name, keywords in calls.items():
        assert keywords.get("trust_remote_code") is False, name
        assert keywords.get("local_files_only") is True, name


def test_every_loader_of_weights_reads_safetensors_alone():
    weights = {name: keywords for name, keywords in loader_calls() if "Model" in name or name.endswith("model_class")}
    weights = {name: keywords for name, keywords in weights.items() if name.split(": ")[1] not in WITHOUT_CODE}
    assert len(weights) >= 3
    assert all(keywords.get("use_safetensors") is True for keywords in weights.values())


PLACES = {
    "config.json": {"AutoConfig": "theirs.Theirs", "AutoModelForImageTextToText": "theirs.Theirs"},
    "processor_config.json": {"AutoProcessor": "theirs.Theirs"},
    "tokenizer_config.json": {"AutoTokenizer": ["theirs.Theirs", "theirs.Theirs"]},
}
"""Where a checkpoint names its code."""


@pytest.fixture
def checkpoint(tiny, tmp_path):
    """A checkpoint that brings code which would leave a file when it runs."""
    folder = shutil.copytree(tiny.with_suffix(""), tmp_path / "theirs")
    (folder / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nclass Theirs:\n    pass\n")
    for name, auto_map in PLACES.items():
        settings = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
        (folder / name).write_text(json.dumps(settings | {"auto_map": auto_map}))
    return folder


@pytest.fixture
def loaded(no_question):
    """A function that loads a checkpoint by its record, where nobody could answer a question."""

    def run(folder):
        record = folder.with_suffix(".json")
        write_record(record, "theirs", "gemma3", folder, None)
        try:
            return load(record)
        finally:
            assert not (folder.parent / "ran").exists()

    return run


def test_a_model_with_code_of_its_own_is_loaded_by_the_librarys(checkpoint, loaded):
    assert type(loaded(checkpoint).processor) is Gemma3Processor


def test_a_model_that_only_its_own_code_could_load_is_one_sentence(checkpoint, loaded):
    settings = json.loads((checkpoint / "processor_config.json").read_text())
    (checkpoint / "processor_config.json").write_text(json.dumps(settings | {"processor_class": "Theirs"}))
    for name in ("tokenizer_config.json", "preprocessor_config.json"):
        if (checkpoint / name).exists():
            settings = json.loads((checkpoint / name).read_text()) | {"processor_class": "Theirs"}
            (checkpoint / name).write_text(json.dumps(settings))
    config = json.loads((checkpoint / "config.json").read_text()) | {"model_type": "theirs"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadFile, match="cannot be loaded as a model"):
        loaded(checkpoint)


def test_a_configuration_that_only_its_own_code_could_read_is_one_sentence(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text()) | {"model_type": "theirs"}
    (checkpoint / "config.json").write_text(json.dumps(config))
    with pytest.raises(BadFile, match="theirs cannot be loaded as a model"):
        identity_of_runtime(checkpoint)
    assert not (checkpoint.parent / "ran").exists()
