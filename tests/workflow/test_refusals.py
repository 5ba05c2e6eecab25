"""What a configuration names outside itself is refused before anything is planned, with the key that names it."""

import copy

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
SERVER = {"backend": "openai", "url": "http://127.0.0.1:9/v1", "model": "m", "revision": "1"}


def refused(**changes) -> list[str]:
    """The lines with which the default configuration with some changes is refused."""
    raw = copy.deepcopy(DEFAULT)
    for place, value in changes.items():
        section = raw
        *way, last = place.split("__")
        for key in way:
            section = section.setdefault(key, {})
        section[last] = value
    with pytest.raises(ConfigurationError) as error:
        load_configuration(raw, "my.yaml")
    return [line.removeprefix("my.yaml: ") for line in str(error.value).splitlines()]


@pytest.fixture
def dataset(tmp_path):
    """A local dataset of three subsets, one of them in one split folder alone."""
    for place in ("training/Xray/IU_XRay", "training/Microscopy/Cells", "validation_public/Xray/IU_XRay"):
        (tmp_path / "flare" / place / "imagesTr").mkdir(parents=True)
        (tmp_path / "flare" / place / "questions.json").write_text("[]")
    return {"source": "local", "path": str(tmp_path / "flare")}


def local_splits(**training):
    return {
        "train": {"dataset": "mine", "folder": "training", **training},
        "validation": {"dataset": "mine", "folder": "validation-public"},
    }


def test_a_sound_local_dataset_is_planned_whatever_its_folders_are_called(dataset):
    raw = DEFAULT | {"datasets": {"mine": dataset}, "splits": local_splits(only=["IU_XRay", "Cells"])}
    assert load_configuration(raw, "my.yaml").splits["train"].only == ("IU_XRay", "Cells")


def test_a_subset_that_is_not_there_is_refused_with_the_near_name_and_all_that_there_are(dataset):
    assert refused(datasets={"mine": dataset}, splits=local_splits(only=["Cells", "IU_Xray"])) == [
        "splits.train.only: 'IU_Xray' is not a subset there; did you mean 'IU_XRay'? there are: Cells, IU_XRay"
    ]
    splits = local_splits() | {"other": {"dataset": "mine", "folder": "validation-public", "only": ["Cells"]}}
    [line] = refused(datasets={"mine": dataset}, splits=splits)
    assert line == "splits.other.only: 'Cells' is not a subset there; there are: IU_XRay"


def test_a_policy_for_a_subset_that_is_not_there_is_refused(dataset):
    policies = {"conventions": {"cells": {"percent": True}}, "cases": {"Bones": "(.*)_"}}
    assert refused(datasets={"mine": dataset | {"policies": policies}}, splits=local_splits()) == [
        "datasets.mine.policies.conventions: 'cells' is not a subset there; did you mean 'Cells'? "
        "there are: Cells, IU_XRay",
        "datasets.mine.policies.cases: 'Bones' is not a subset there; there are: Cells, IU_XRay",
    ]


def test_a_split_folder_that_is_not_there_is_refused_with_those_that_are(dataset):
    splits = local_splits() | {"hidden": {"dataset": "mine", "folder": "validation-hidden"}}
    assert refused(datasets={"mine": dataset}, splits=splits) == [
        f"splits.hidden.folder: {dataset['path']} has no validation-hidden; it has training, validation-public"
    ]


def test_a_mirror_that_is_not_there_is_refused():
    mirror = {"source": "hub", "mirror": "no/such"}
    [line] = refused(datasets__theirs=mirror)
    assert line.startswith("datasets.theirs.mirror: no/such is not a directory")


@pytest.mark.parametrize(
    ("place", "section"),
    [
        ("judges.crimson", {"judges__crimson": {"backend": "transformers", "metric": "crimson"}}),
        ("models.med", {"models__med": {"source": "hub", "family": "gemma3"}, "systems__med": {"model": "med"}}),
    ],
)
def test_a_repository_of_the_hub_needs_its_commit_and_a_folder_has_to_be_there(place, section, tmp_path):
    def lines(checkpoint):
        [entry, *_] = section
        return refused(**section | {entry: section[entry] | {"checkpoint": checkpoint}})

    [line] = lines("org/model")
    assert line.startswith(f"{place}.revision: org/model is not a directory here, and a repository of the hub needs")
    for folder in ("./nowhere", str(tmp_path / "nowhere"), "~/nowhere"):
        assert lines(folder) == [f"{place}.checkpoint: {folder} is not a directory; give the folder of the checkpoint"]


def test_a_checkpoint_that_only_a_server_holds_is_the_servers_to_find():
    raw = copy.deepcopy(DEFAULT)
    raw["models"]["far"] = {"source": "hub", "family": "gemma3", "checkpoint": "/on/the/server"}
    raw["engines"] = {"lab": {"url": "http://127.0.0.1:9/v1"}}
    raw["systems"]["far"] = {"model": "far", "engine": "lab", "served_as": "far"}
    load_configuration(raw, "my.yaml")


def test_recorded_replies_that_are_not_there_are_refused_and_found_below_the_users_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    panel = {"backend": "recorded", "metric": "crimson", "path": "~/replies.jsonl"}
    assert refused(judges__panel=panel) == [
        f"judges.panel.path: {tmp_path}/replies.jsonl is not a file; give the file of the recorded replies, relative "
        "to the folder in which Snakemake runs"
    ]
    (tmp_path / "replies.jsonl").touch()
    raw = copy.deepcopy(DEFAULT) | {"judges": {"panel": panel}}
    assert load_configuration(raw, "my.yaml").judges["panel"].file == tmp_path / "replies.jsonl"


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("judges__crimson", {**SERVER}, "judges.crimson.metric: required key is missing"),
        ("judges__x", {"backend": "recorded", "metric": "green"}, "judges.x.path: required key is missing"),
        ("judges__x", {"metric": "green"}, "judges.x.backend: required key is missing"),
        ("judges__x", {"backend": "oracle"}, "judges.x.backend: 'oracle' is not known; allowed: 'rule_based', "),
        ("datasets__x", {"source": "web"}, "datasets.x.source: 'web' is not known; allowed: 'synthetic', 'local', "),
        ("models__x", {"family": "gemma3"}, "models.x.source: required key is missing"),
        ("systems__x", "tiny", "systems.x: expected a mapping, as in {key: value} (given: 'tiny')"),
        ("recipes", ["qlora"], "recipes: expected a mapping, as in {key: value} (given: ['qlora'])"),
        ("scoring", 3, "scoring: expected a mapping, as in {key: value} (given: 3)"),
        ("models__x", {"source": "hub", "family": "gemma3"}, "models.x.checkpoint: required key is missing"),
        ("splits__x", {"dataset": "toy"}, "splits.x.folder: required key is missing"),
        ("systems__x", {"baseline": "majority"}, "systems.x.train: required key is missing"),
        ("engines__x", {}, "engines.x.url: required key is missing"),
        ("scoring", {"bertscore": {"layer": 1}}, "scoring.bertscore.checkpoint: required key is missing"),
        ("evaluate", "validation", "evaluate: expected a list, as in [a, b] (given: 'validation')"),
        ("submit", "train", "submit: expected a list, as in [a, b] (given: 'train')"),
        ("splits__train__only", "cells", "splits.train.only: expected a list, as in [a, b] (given: 'cells')"),
        ("inference", {"together": "base"}, "inference.together: expected a list, as in [a, b] (given: 'base')"),
        ("inference", {"together": ["base"]}, "inference.together.0: expected a list, as in [a, b] (given: 'base')"),
    ],
)
def test_a_missing_key_and_a_value_of_another_kind_are_named_by_their_place(place, value, sentence):
    lines = refused(**{place: value})
    assert any(line.startswith(sentence) for line in lines), lines
    assert not any(word in line for line in lines for word in ("tuple", "dictionary", "discriminator", "tag"))


@pytest.mark.parametrize(
    ("given", "planned"),
    [("./x/", "x"), ("x//y/./z/", "x/y/z"), ("~/x", "{home}/x"), ("../x/", "../x"), ("~/a b/", "{home}/a b")],
)
@pytest.mark.parametrize("key", ["results", "store"])
def test_folders_are_written_in_one_way(key, given, planned, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert getattr(load_configuration(DEFAULT | {key: given}, "my.yaml"), key) == planned.format(home=tmp_path)
