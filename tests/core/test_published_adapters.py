"""A published adapter and an image size in the configuration: what they name, and what they exclude."""

import re
from pathlib import Path

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration

COMMIT = "e" * 40


def configured(model=None, **system):
    """The default configuration with a model of the hub, and a system of it with an adapter."""
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    raw["models"]["med"] = {"source": "hub", "family": "gemma3", "checkpoint": "org/med", "revision": COMMIT}
    raw["models"]["med"] |= model or {}
    raw["engines"] = {"lab": {"url": "http://127.0.0.1:9/v1"}}
    raw["systems"]["theirs"] = {"model": "med", **system}
    return load_configuration(raw, "my.yaml")


@pytest.mark.parametrize("revision", [COMMIT, "main"])
def test_an_adapter_is_two_lines_and_is_fetched_for_its_system(revision):
    fetched = configured(adapter=f"some/lora.v2@{revision}").checkpoints()["adapters/theirs"]
    assert (fetched.family, fetched.checkpoint, fetched.revision) == ("adapter", "some/lora.v2", revision)
    assert fetched.base == "org/med"


def test_an_adapter_may_be_a_folder_even_with_an_at_sign_in_its_name(tmp_path):
    folder = tmp_path / "lora@v2"
    folder.mkdir()
    fetched = configured(adapter=str(folder)).checkpoints()["adapters/theirs"]
    assert (fetched.checkpoint, fetched.revision) == (str(folder), None)


def test_a_local_base_has_no_name_that_an_adapter_could_be_checked_against(tmp_path):
    configuration = configured({"checkpoint": str(tmp_path), "revision": None}, adapter=f"a/b@{COMMIT}")
    assert configuration.checkpoints()["adapters/theirs"].base is None
    raw = {"systems": {"theirs": {"model": "tiny", "adapter": f"a/b@{COMMIT}"}}}
    default = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    assert load_configuration(default | raw, "my.yaml").checkpoints()["adapters/theirs"].base is None


@pytest.mark.parametrize(
    ("model", "system", "sentence"),
    [
        ({}, {"adapter": "a/b@v1"}, "'a/b@v1' is not OWNER/NAME@REVISION, REVISION being a full commit (40"),
        ({}, {"adapter": f"b@{COMMIT}"}, "is not OWNER/NAME@REVISION"),
        ({}, {"adapter": "a/b@main", "recipe": "qlora", "train": "train"}, "leave out recipe and train, or adapter"),
        ({}, {"adapter": "a/b@main", "engine": "lab", "served_as": "x"}, "adapter needs the model in the job itself"),
        (
            {"image": {"size": 448}},
            {"engine": "lab", "served_as": "x"},
            "systems.theirs.engine: a server prepares images by itself, and models.med.image.size would not hold",
        ),
        (
            {"image": {"pad": True}},
            {"engine": "lab", "served_as": "x"},
            "systems.theirs.engine: a server prepares images by itself, and models.med.image.pad would not hold",
        ),
        (
            {"revision": "main"},
            {"engine": "lab", "served_as": "x"},
            "models.med.revision: `main` moves, and answers behind a server are those of a commit",
        ),
        ({"image": {"size": 8}}, {}, "models.med.image.size: Input should be greater than or equal to 16"),
        ({"image": {"side": 448}}, {}, "models.med.image.side: unknown key; "),
        ({"family": "text", "image": {"size": 448}}, {}, "image.size: family text reads no images; leave it out"),
        ({"family": "text", "image": {"pad": True}}, {}, "image.pad: family text reads no images; leave it out"),
        (
            {"boxes": "native"},
            {"constrained": True},
            "systems.theirs.constrained: grammars bound boxes in the dataset's form, and models.med.boxes is native",
        ),
        ({"revision": "v2"}, {}, "models.med.revision"),
    ],
)
def test_what_cannot_be_is_named_with_its_place(model, system, sentence):
    with pytest.raises(ConfigurationError, match=re.escape(sentence)):
        configured(model, **system)


def test_the_shipped_configuration_asks_base_and_adapter_alike():
    configuration = load_configuration(
        yaml.safe_load((ROOT / "config/flare25-medgemma.yaml").read_text()), "config/flare25-medgemma.yaml"
    )
    base, theirs = configuration.systems["base"], configuration.systems["flare25"]
    assert base.prompt == theirs.prompt and base.prompt.system.startswith("You are an expert medical AI assistant")
    assert configuration.models["medgemma"].image.size == 448
    assert configuration.inference.together == (("base", "flare25"),)
    assert configuration.checkpoints()["adapters/flare25"].checkpoint == "leoyinn/flare25-medgemma"
    assert "  adapter: leoyinn/flare25-medgemma@" in Path(ROOT / "config/flare25-medgemma.yaml").read_text()
