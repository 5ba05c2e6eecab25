"""The section `saliency` of the configuration: what it takes, and the sentence that refuses what it cannot explain."""

import pytest
import yaml

from tests.conftest import ROOT
from workflow_scripts.core.config.workflow import ConfigurationError, load_configuration

MODELS = {
    "words": {"source": "hub", "family": "text", "checkpoint": "a/b", "revision": "0" * 40},
    "states": {"source": "hub", "family": "qwen3_5", "checkpoint": "a/b", "revision": "0" * 40},
    "seen": {"source": "hub", "family": "idefics3", "checkpoint": "a/b", "revision": "0" * 40},
}
SYSTEMS = {
    "words": {"model": "words"},
    "states": {"model": "states"},
    "seen": {"model": "seen"},
    "shown": {"model": "seen", "shots": {"count": 2, "train": "train"}},
    "served": {"model": "seen", "engine": "vllm", "served_as": "x"},
    "routed": {"route": {"by": "rule", "experts": {"counting": "base"}, "default": "base"}},
}


def read(entry):
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text(encoding="utf-8"))
    raw["models"] |= MODELS
    raw["systems"] |= SYSTEMS | ({"theirs": {"predictions": "theirs.jsonl"}} if entry["system"] == "theirs" else {})
    raw["engines"] = {"vllm": {"url": "http://localhost:1/v1"}}
    return load_configuration(raw | {"saliency": {"why": entry}}, "the file").saliency["why"]


def test_an_entry_needs_a_system_alone_and_keeps_its_methods_in_one_order():
    entry = read({"system": "tuned", "methods": ["chefer", "occlusion", "chefer"]})
    assert (entry.split, entry.methods) == (None, ("occlusion", "chefer"))
    assert len(read({"system": "seen"}).methods) == 4


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"system": "nobody"}, "saliency.why.system: 'nobody' is not in `systems`"),
        ({"system": "majority"}, "'majority' loads no model in its job, and maps need one; allowed: base, tuned"),
        ({"system": "served"}, "'served' loads no model in its job"),
        ({"system": "routed"}, "'routed' loads no model in its job"),
        ({"system": "theirs"}, "'theirs' loads no model in its job"),
        ({"system": "words"}, "'words' is of family text, which reads no images"),
        ({"system": "shown"}, "'shown' is shown the images of other rows too; name one without shots"),
        ({"system": "states"}, "saliency.why.methods: chefer needs attention weights of every layer"),
        ({"system": "base", "split": "train"}, "saliency.why.split: 'train' is not in `evaluate`; allowed: validation"),
        ({"system": "base", "methods": ["guess"]}, "saliency.why.methods"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_the_place_and_the_remedy(entry, sentence):
    with pytest.raises(ConfigurationError) as refused:
        read(entry)
    assert sentence in str(refused.value)


def test_a_family_with_states_is_explained_by_the_other_methods():
    assert read({"system": "states", "methods": ["occlusion", "gradient_x_input"]}).system == "states"
