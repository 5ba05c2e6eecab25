"""A configuration is valid, or fails with the place and the allowed values."""

import copy

import pytest
import yaml

from workflow_scripts.cache.fingerprints import ROOT
from workflow_scripts.core.config import documents
from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration, read_configuration

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())


def refused(**changes) -> str:
    raw = copy.deepcopy(DEFAULT)
    for place, value in changes.items():
        section = raw
        *way, last = place.split("__")
        for key in way:
            section = section.setdefault(key, {})
        section[last] = value
    with pytest.raises(ConfigurationError) as error:
        load_configuration(raw, "my.yaml")
    return str(error.value)


@pytest.mark.parametrize("name", ["config", "smoke", "medgemma-flare", "minicourse"])
def test_a_shipped_configuration_is_valid(name):
    read_configuration(ROOT / f"config/{name}.yaml")


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("systems__tuned__recip", "qlora", "systems.tuned.recip: unknown key; did you mean 'recipe'?"),
        ("modls", {}, "modls: unknown key; did you mean 'models'?"),
        ("recipes__qlora__lora__rank", 3, "recipes.qlora.lora.rank: unknown key; allowed: alpha, dropout, r, targets"),
        ("datasets__made__sed", 3, "datasets.made.sed: unknown key; did you mean 'seed'?"),
        ("systems__base__model", "tinny", "systems.base.model: 'tinny' is not in `models`; allowed: tiny"),
        ("systems__tuned__recipe", "lora", "systems.tuned.recipe: 'lora' is not in `recipes`; allowed: qlora"),
        ("splits__train__dataset", "x", "splits.train.dataset: 'x' is not in `datasets`; allowed: made"),
        ("evaluate", ["test"], "evaluate: 'test' is not in `splits`; allowed: train, validation"),
        ("evaluate", ["train"], "split 'train' is also in `evaluate`"),
        ("submit", ["test"], "submit: 'test' is not in `splits`; allowed: train, validation"),
        ("submit", ["validation"], "submit: split 'validation' is also in `evaluate`"),
        ("submit", ["train"], "train: split 'train' is also in `submit`"),
        ("datasets__made__seed", -1, "datasets.made.seed: Input should be greater than or equal to 0 (given: -1)"),
        ("splits__train__folder", "train", "splits.train.folder: Input should be 'training'"),
        ("recipes__qlora__steps", 5, "set either epochs or steps"),
        ("systems__odd", {"model": "tiny", "recipe": "qlora"}, "recipe and train go together"),
        ("models__med", {"source": "hub", "family": "gemma3", "checkpoint": "a/b", "revision": "main"}, "revision"),
        ("datasets__mine", {"source": "local"}, "datasets.mine.path: no folder given"),
        ("datasets__mine", {"source": "local", "path": "no/such"}, "no/such does not exist"),
        ("judges__a/b", {}, "judges"),
        ("scoring", {"nltk_data": "no/such"}, "scoring.nltk_data: no/such is no folder"),
        (
            "scoring",
            {"bertscore": {"checkpoint": "no/such", "layer": 1}},
            "bertscore.checkpoint: no/such is no folder",
        ),
        ("systems__theirs", {"predictions": "no/such.json"}, "systems.theirs.predictions: no/such.json is no file"),
        (
            "systems__theirs",
            {"predictions": "x.txt"},
            "ends in .jsonl, .json or .csv (given: 'x.txt')",
        ),
        ("systems__theirs", {"predictions": "x.csv", "model": "tiny"}, "systems.theirs.model: unknown key; allowed: "),
    ],
)
def test_a_fault_is_named_with_its_place_and_the_remedy(place, value, sentence):
    message = refused(**{place: value})
    assert sentence in message
    assert message.startswith("my.yaml: ")
    assert "Traceback" not in message


def test_a_submitted_split_keeps_its_rows_without_answers():
    hidden = {"dataset": "made", "folder": "validation-hidden"}
    said = refused(splits__hidden=hidden, submit=["hidden"])
    assert "submit: rows of 'hidden' without an answer would not be asked; set datasets.made.policies.no_answer" in said


def test_a_folder_without_questions_is_refused(tmp_path):
    assert "holds no question file" in refused(datasets__mine={"source": "local", "path": str(tmp_path)})


def test_every_fault_has_a_line_of_its_own():
    assert len(refused(modls={}, datasets__made__sed=1).splitlines()) == 2


def test_equal_recipes_have_one_identity_and_others_another():
    assert Recipe().spec() == Recipe(learning_rate=2e-4).spec() != Recipe(learning_rate=3e-4).spec()


def test_schema_and_reference_follow_the_models():
    assert (ROOT / documents.SCHEMA).read_text() == documents.schema_text()
    assert (ROOT / documents.REFERENCE).read_text() == documents.reference_text()


def test_the_reference_is_yaml():
    assert set(yaml.safe_load(documents.reference_text())) >= {"datasets", "systems", "recipes"}
