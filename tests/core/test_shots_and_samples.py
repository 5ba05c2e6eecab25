"""Shots and samples in a configuration: the short form, and what is refused before anything runs."""

import copy

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.core.config.models import ONE_IMAGE
from workflow_scripts.core.config.systems.model import ModelSystem, Shots
from workflow_scripts.core.config.workflow import Configuration, ConfigurationError, load_configuration

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
FEW = {"count": 2, "train": "train"}


def configuration(systems, **sections) -> Configuration:
    raw = copy.deepcopy(DEFAULT)
    raw["systems"] |= systems
    return load_configuration(raw | sections, "my.yaml")


def refused(systems, **sections) -> str:
    with pytest.raises(ConfigurationError) as error:
        configuration(systems, **sections)
    return str(error.value)


def test_the_short_form_takes_the_split_that_stands_beside_it():
    systems = configuration(
        {
            "short": {"model": "tiny", "train": "train", "shots": 2},
            "beside": {"model": "tiny", "train": "train", "shots": {"count": 2}},
            "long": {"model": "tiny", "shots": FEW},
        }
    ).systems
    assert systems["short"] == systems["beside"] == systems["long"] == ModelSystem(model="tiny", shots=Shots(**FEW))
    assert systems["long"].train is None  # nothing is tuned


def test_what_is_written_down_is_read_again():
    once = configuration({"few": {"model": "tiny", "train": "train", "shots": 2, "samples": {"draws": 3}}})
    assert Configuration.model_validate(once.model_dump(mode="json")) == once


@pytest.mark.parametrize(
    ("system", "sentence"),
    [
        ({"shots": 2}, "shots: name the split that they are drawn from, shots: {count: …, train: SPLIT}"),
        ({"shots": {"count": 2, "train": "lab"}}, "systems.few.shots.train: 'lab' is not in `splits`; allowed: train"),
        ({"shots": {"count": 2, "train": "validation"}}, "shots.train: split 'validation' is also in `evaluate`"),
        ({"shots": 0, "train": "train"}, "systems.few.shots.count: Input should be greater than or equal to 1"),
        ({"shots": {**FEW, "seeds": 1}}, "systems.few.shots.seeds: unknown key; did you mean 'seed'?"),
        ({"shots": 2, "train": "train", "recipe": "qlora"}, "shots are for a model that is not tuned here"),
        ({"samples": {"draws": 1}}, "systems.few.samples.draws: Input should be greater than or equal to 2"),
        (
            {"samples": {"draws": 2, "temperature": 0}},
            "systems.few.samples.temperature: Input should be greater than 0",
        ),
        ({"samples": {"draws": 2, "top_p": 0}}, "systems.few.samples.top_p: Input should be greater than 0"),
    ],
)
def test_a_fault_is_one_sentence_with_its_place(system, sentence):
    message = refused({"few": {"model": "tiny", **system}})
    assert sentence in message and message.startswith("my.yaml: ") and len(message.splitlines()) == 1


@pytest.mark.parametrize("family", ONE_IMAGE)
def test_a_family_that_reads_one_image_shows_texts_alone(family):
    model = {"source": "hub", "family": family, "checkpoint": "a/b", "revision": "0" * 40}
    models = {**DEFAULT["models"], "other": model}
    sentence = f"systems.few.shots: family {family} reads no images beside a question's own; set `shots.images: false`"
    assert sentence in refused({"few": {"model": "other", "shots": FEW}}, models=models)
    assert configuration({"few": {"model": "other", "shots": {**FEW, "images": False}}}, models=models)


@pytest.mark.parametrize(
    ("system", "sentence"),
    [
        ({"shots": FEW}, "'few' shows rows of 'train', which no container holds; pack a system without shots"),
        ({"samples": {"draws": 5}}, "'few' answers each row 5 times; pack a system without samples"),
    ],
)
def test_a_container_holds_neither(system, sentence):
    few = {"model": "tiny", **system}
    assert f"container.systems: {sentence}" in refused({"few": few}, container={"systems": ["few"]})
    route = {"route": {"by": "rule", "experts": {"counting": "few"}, "default": "base"}}
    message = refused({"few": few, "routed": route}, container={"systems": ["routed"]})
    assert f"'routed' routes to an expert that cannot be packed: {sentence}" in message
