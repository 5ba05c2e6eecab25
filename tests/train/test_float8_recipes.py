"""Recipes in 8-bit floating point in a configuration: what is refused before any job."""

import copy

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.config.workflow import Configuration, ConfigurationError, load_configuration

DEFAULT = yaml.safe_load((ROOT / "config/config.yaml").read_text())
QWEN = {"source": "hub", "family": "qwen3_vl", "checkpoint": "Qwen/Qwen3-VL-4B-Instruct", "revision": "0" * 40}


def configuration(model: str, gpus: int) -> Configuration:
    raw = copy.deepcopy(DEFAULT)
    raw["models"]["tiny"]["gpus"] = gpus
    raw["models"]["qwen"] = QWEN | {"gpus": gpus}
    raw["recipes"]["coded"] = {"fp8": True, "lora": {"dropout": 0.0}}
    raw["systems"]["coded"] = {"model": model, "recipe": "coded", "train": "train"}
    return load_configuration(raw, "my.yaml")


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        (
            {"fp8": True, "weights": "attention", "quantisation": "none"},
            "fp8 is for adapters on all projections of each layer, without dropout",
        ),
        ({"fp8": True, "lora": {"dropout": 0.05}}, "lora.dropout to 0, or fp8 to false"),
        ({"fp8": True, "lora": {"dropout": 0.0, "targets": "attention"}}, "set lora.targets to language or all-linear"),
    ],
)
def test_a_recipe_whose_adapters_have_no_8_bit_products_is_refused(recipe, sentence):
    with pytest.raises(ValueError, match=sentence):
        Recipe.model_validate(recipe)


@pytest.mark.parametrize(
    ("model", "gpus", "sentence"),
    [
        ("qwen", 1, "recipes.coded.fp8: layers of family qwen3_vl are not trained in 8 bits"),
        ("tiny", 0, "recipes.coded.fp8: the job takes no GPU, and 8 bits need an H100 or newer"),
    ],
)
def test_a_model_that_cannot_be_trained_so_is_refused(model, gpus, sentence):
    with pytest.raises(ConfigurationError, match=sentence):
        configuration(model, gpus)


def test_a_gemma_3_on_a_gpu_may_be_trained_so_whatever_its_base_is_stored_in():
    assert configuration("tiny", 1).recipes["coded"].fp8
    assert Recipe(fp8=True, lora={"dropout": 0.0}, quantisation="none").fp8
