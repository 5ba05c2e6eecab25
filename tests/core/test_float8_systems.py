"""Systems in 8-bit floating point in a configuration: two of one model stand side by side, and what is refused."""

import copy

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.core.config.workflow import Configuration, ConfigurationError, load_configuration

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
QWEN = {"source": "hub", "family": "qwen3_vl", "checkpoint": "Qwen/Qwen3-VL-4B-Instruct", "revision": "0" * 40}


def configuration(systems, *, gpus: int = 1, **sections) -> Configuration:
    raw = copy.deepcopy(DEFAULT)
    raw["models"]["tiny"]["gpus"] = gpus
    raw["models"]["qwen"] = QWEN
    raw["systems"] |= systems
    return load_configuration(raw | sections, "my.yaml")


def refused(systems, **sections) -> str:
    with pytest.raises(ConfigurationError) as error:
        configuration(systems, **sections)
    return str(error.value)


def test_one_model_answers_in_both_and_the_tuned_too():
    tuned = {"model": "tiny", "recipe": "qlora", "train": "train"}
    systems = configuration({"base8": {"model": "tiny", "fp8": True}, "tuned8": {**tuned, "fp8": True}}).systems
    assert [systems[name].fp8 for name in ("base", "base8", "tuned8")] == [False, True, True]


@pytest.mark.parametrize(
    ("system", "sections", "sentence"),
    [
        (
            {"engine": "here", "served_as": "x"},
            {"engines": {"here": {"url": "http://h/v1"}}},
            "leave out engine, or fp8",
        ),
        ({"model": "qwen"}, {}, "systems.eight.fp8: layers of family qwen3_vl are not computed in 8 bits"),
        ({}, {"gpus": 0}, "set models.tiny.gpus: 1, or leave fp8 out"),
        ({}, {"inference": {"together": [["base", "eight"]]}}, "base, eight: expected systems with one value of fp8"),
        ({}, {"saliency": {"why": {"system": "eight"}}}, "saliency.why.system: 'eight' answers in 8 bits"),
        (
            {"route": {"by": "rule", "experts": {"report": "base"}, "default": "plain8"}},
            {"container": {"systems": ["eight"]}},
            "'eight' routes to systems with fp8 and without",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence_before_anything_runs(system, sections, sentence):
    routed = "route" in system
    entry = system if routed else {"model": "tiny", "fp8": True, **system}
    plain = {"plain8": {"model": "tiny", "fp8": True}} if routed else {}
    assert sentence in refused({"eight": entry, **plain}, **sections)
