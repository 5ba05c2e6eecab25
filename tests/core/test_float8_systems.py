"""Systems in 8-bit floating point in a configuration: two of one model stand side by side, and what is refused."""

import copy

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.core.config.workflow import Configuration, ConfigurationError, load_configuration

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
QWEN = {"source": "hub", "family": "qwen3_vl", "checkpoint": "Qwen/Qwen3-VL-4B-Instruct", "revision": "0" * 40}


GEMMA = {"source": "hub", "family": "gemma3", "checkpoint": "google/medgemma-4b-it", "revision": "0" * 40}


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


def test_a_tower_in_8_bits_is_another_model_to_every_key():
    models = {**DEFAULT["models"], "plain": GEMMA, "eight": {**GEMMA, "vision_fp8": True}}
    raw = copy.deepcopy(DEFAULT) | {"models": models}
    plain, eight = (load_configuration(raw, "my.yaml").models[name].to_fetch() for name in ("plain", "eight"))
    assert (plain.vision_fp8, eight.vision_fp8) == (False, True)


@pytest.mark.parametrize(
    ("changed", "system", "sentence"),
    [
        (
            {"family": "qwen3_vl", "features": "stored"},
            None,
            "vision_fp8: the tower of family qwen3_vl is not computed",
        ),
        ({"features": "computed"}, None, "vision_fp8 is for features that are stored"),
        ({"gpus": 0}, None, "vision_fp8: jobs take no GPU"),
        ({}, {"recipe": "all", "train": "train"}, "systems.tuned.recipe: 'all' tunes the tower"),
        ({}, {"engine": "here", "served_as": "x"}, "systems.tuned.engine: a server computes its tower itself"),
    ],
)
def test_a_tower_in_8_bits_is_refused_where_it_cannot_be(changed, system, sentence):
    models = {**DEFAULT["models"], "eight": {**GEMMA, "vision_fp8": True, **changed}}
    recipes = {**DEFAULT["recipes"], "all": {**DEFAULT["recipes"]["qlora"], "lora": {"targets": "all-linear"}}}
    systems = {} if system is None else {"tuned": {"model": "eight", **system}}
    engines = {"here": {"url": "http://h/v1"}}
    raw = copy.deepcopy(DEFAULT) | {"models": models, "recipes": recipes, "engines": engines}
    raw["systems"] |= systems
    with pytest.raises(ConfigurationError, match=sentence):
        load_configuration(raw, "my.yaml")


def test_no_map_explains_a_tower_in_8_bits():
    models = {**DEFAULT["models"], "eight": {**GEMMA, "vision_fp8": True}}
    raw = copy.deepcopy(DEFAULT) | {"models": models, "saliency": {"why": {"system": "shown"}}}
    raw["systems"] |= {"shown": {"model": "eight"}}
    with pytest.raises(ConfigurationError, match=r"saliency\.why\.system: the tower of 'shown' is in 8 bits"):
        load_configuration(raw, "my.yaml")
