"""A configuration is valid, or fails with the place and the allowed values."""

import copy
import json

import pytest
import yaml

from workflow_scripts import ROOT
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


SHIPPED = sorted(path for path in (ROOT / "config").glob("*.yaml") if path != ROOT / documents.REFERENCE)


def test_the_shipped_configurations_are_all_there():
    assert {"config", "smoke", "local", "minicourse", "medgemma-flare", "flare25-medgemma"} <= {
        path.stem for path in SHIPPED
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_configuration_is_valid(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    raw = yaml.safe_load(path.read_text())
    for entry in raw["datasets"].values():
        if entry["source"] in ("table", "dicom", "nifti", "signals", "brat") and "path" in entry:
            (tmp_path / entry["path"]).mkdir(parents=True, exist_ok=True)
    for system in raw["systems"].values():
        if "encoder" in system:  # a checkpoint that the user converts
            (tmp_path / system["encoder"]["checkpoint"]).mkdir(parents=True)
    for judge in raw.get("judges", {}).values():
        if judge.get("validity"):  # scores of the user's own people
            (tmp_path / judge["validity"]["path"]).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / judge["validity"]["path"]).write_text("")
    if any(entry["source"] == "local" for entry in raw["datasets"].values()):
        for folder in ("training", "validation-public"):  # a dataset of the user's own
            questions = tmp_path / folder / "Xray/lab/questions.json"
            questions.parent.mkdir(parents=True)
            questions.write_text("[]")
        load_configuration(raw | {"dataset_path": str(tmp_path)}, str(path))
    else:
        read_configuration(path)


@pytest.mark.parametrize("path", [*SHIPPED, ROOT / documents.REFERENCE], ids=lambda path: path.stem)
def test_a_shipped_configuration_names_the_schema_for_editors(path):
    with path.open() as lines:
        name = next(lines).removeprefix("# yaml-language-server: $schema=").strip()
    assert json.loads((path.parent / name).read_text())["title"] == "Configuration"


@pytest.mark.parametrize(
    ("place", "value", "sentence"),
    [
        ("systems__tuned__recip", "qlora", "systems.tuned.recip: unknown key; did you mean 'recipe'?"),
        ("modls", {}, "modls: unknown key; did you mean 'models'?"),
        ("recipes__qlora__lora__rank", 3, "recipes.qlora.lora.rank: unknown key; allowed: alpha, dropout, r, targets"),
        ("datasets__toy__sed", 3, "datasets.toy.sed: unknown key; did you mean 'seed'?"),
        ("systems__base__model", "tinny", "systems.base.model: 'tinny' is not in `models`; allowed: tiny"),
        ("systems__tuned__recipe", "lora", "systems.tuned.recipe: 'lora' is not in `recipes`; allowed: qlora"),
        ("splits__train__dataset", "x", "splits.train.dataset: 'x' is not in `datasets`; allowed: toy"),
        ("evaluate", ["test"], "evaluate: 'test' is not in `splits`; allowed: train, validation"),
        ("evaluate", ["train"], "split 'train' is also in `evaluate`"),
        ("submit", ["test"], "submit: 'test' is not in `splits`; allowed: train, validation"),
        ("submit", ["validation"], "submit: split 'validation' is also in `evaluate`"),
        ("submit", ["train"], "train: split 'train' is also in `submit`"),
        ("datasets__toy__seed", -1, "datasets.toy.seed: Input should be greater than or equal to 0 (given: -1)"),
        ("splits__train__folder", "train", "splits.train.folder: Input should be 'training'"),
        ("recipes__qlora__steps", 5, "set either epochs or steps"),
        ("systems__odd", {"model": "tiny", "recipe": "qlora"}, "recipe and train go together"),
        ("models__med", {"source": "hub", "family": "gemma3", "checkpoint": "a/b", "revision": "v2"}, "revision"),
        ("datasets__mine", {"source": "local"}, "datasets.mine.path: no folder given"),
        ("datasets__mine", {"source": "local", "path": "no/such"}, "no/such does not exist"),
        ("judges__a/b", {}, "judges"),
        ("scoring", {"nltk_data": "no/such"}, "scoring.nltk_data: no/such is not a directory"),
        (
            "scoring",
            {"bertscore": {"checkpoint": "no/such", "layer": 1}},
            "scoring.bertscore.revision: no/such is not a directory here, and a repository of the hub needs its full",
        ),
        ("systems__theirs", {"predictions": "no/such.json"}, "systems.theirs.predictions: no/such.json is not a file"),
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


def test_two_systems_are_not_uploaded_to_one_repository():
    again = {"model": "tiny", "recipe": "qlora", "train": "train"}
    message = refused(systems__again=again, publish={"tuned": {"repo": "lab/x"}, "again": {"repo": "Lab/X"}})
    assert "publish.tuned.repo: 'lab/x' is that of 'again' too, which it would overwrite" in message


def test_a_submitted_split_keeps_its_rows_without_answers():
    hidden = {"dataset": "toy", "folder": "validation-hidden"}
    message = refused(splits__hidden=hidden, submit=["hidden"])
    assert (
        "submit: rows of 'hidden' without an answer would not be asked; set datasets.toy.policies.no_answer" in message
    )


def test_a_folder_without_questions_is_refused(tmp_path):
    assert "holds no question file" in refused(datasets__mine={"source": "local", "path": str(tmp_path)})


def test_every_fault_has_a_line_of_its_own():
    assert len(refused(modls={}, datasets__toy__sed=1).splitlines()) == 2


def test_equal_recipes_have_one_identity_and_others_another():
    assert Recipe().spec() == Recipe(learning_rate=2e-4).spec() != Recipe(learning_rate=3e-4).spec()


def test_schema_and_reference_follow_the_models():
    texts = {documents.SCHEMA: documents.schema_text(), documents.REFERENCE: documents.reference_text()}
    stale = [str(path) for path, text in texts.items() if (ROOT / path).read_text(encoding="utf-8") != text]
    assert stale == [], "run `python -m workflow_scripts.core.config.documents`"


def test_the_reference_is_yaml():
    assert set(yaml.safe_load(documents.reference_text())) >= {"datasets", "systems", "recipes"}
