"""A sweep becomes systems with readable names; what cannot be one is refused in a sentence that names its place."""

import json

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.config.workflow import (
    Configuration,
    ConfigurationError,
    load_configuration,
    read_configuration,
)

SWEEP = {
    "model": "tiny",
    "recipe": "full",
    "train": "train",
    "select": {"on": "holdout", "metric": "loss"},
    "settings": [
        {"batch": 8, "learning_rate": "5e-5"},
        {"batch": 16, "learning_rate": 1.5e-4, "evaluation.keep": "last"},
    ],
}
FULL = {"weights": "attention", "quantisation": "none", "optimiser": "sgd", "evaluation": {"every": 5, "samples": 2}}
LORA = {"lora": {"r": 8}, "evaluation": {"every": 5}}


def configured(sweep=None, **changes):
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    raw["recipes"] |= {"full": FULL, "adapters": LORA}
    raw["sweeps"] = {"study": SWEEP | (sweep or {})}
    return load_configuration(raw | changes, "x")


def refusal(*arguments, **changes):
    with pytest.raises(ConfigurationError) as error:
        configured(*arguments, **changes)
    return str(error.value)


def test_each_setting_is_a_system_with_its_recipe_and_the_chosen_one_has_the_sweeps_name():
    configuration = configured()
    names = ["study-b8-lr5e-5", "study-b16-lr15e-5-last"]
    assert list(configuration.systems)[-3:] == [*names, "study"]
    rates = [(configuration.recipes[n].batch, configuration.recipes[n].learning_rate) for n in names]
    assert rates == [(8, 5e-5), (16, 1.5e-4)]
    keeps = [configuration.recipes[name].evaluation.keep for name in names]
    assert keeps == ["best", "last"] and all(configuration.systems[name].recipe == name for name in names)
    assert list(configuration.trained()) == ["tuned", *names]
    assert configuration.tuned() == ["tuned", *names, "study"]


def test_every_combination_of_values_is_a_setting():
    sweep = {"recipe": "adapters", "settings": [], "vary": {"lora.r": [8, 32], "learning_rate": [2e-4, 1e-3, 0.5]}}
    names = [name for name in configured(sweep).systems if name.startswith("study-")]
    assert names == [f"study-r{r}-lr{rate}" for r in (8, 32) for rate in ("2e-4", "1e-3", "5e-1")]


def test_settings_that_are_not_evaluated_are_tuned_and_no_systems():
    configuration = configured({"evaluate": "chosen"})
    assert [name for name in configuration.systems if name.startswith("study")] == ["study"]
    assert [name for name in configuration.trained() if name.startswith("study-")] == list(configuration.trained())[-2:]


@pytest.mark.parametrize("evaluate", ["all", "chosen"])
def test_a_configuration_that_was_written_down_is_read_as_itself(evaluate):
    configuration = configured({"evaluate": evaluate})
    again = Configuration.model_validate(json.loads(json.dumps(configuration.model_dump(mode="json"))))
    assert again == configuration and again.trained() == configuration.trained()


@pytest.mark.parametrize(
    ("sweep", "sentence"),
    [
        ({"recipe": "none"}, "sweeps.study.recipe: 'none' is not in `recipes`; allowed: adapters, full, qlora"),
        ({"settings": [{"bach": 8}]}, "sweeps.study: 'bach' is not a value of its recipe; as in batch"),
        ({"settings": [{"lora.r": 8}]}, "sweeps.study: 'lora.r' is not a value of its recipe"),
        ({"settings": [{"batch": 0}]}, "sweeps.study.batch: Input should be greater than or equal to 1"),
        ({"settings": [{"batch": 8}, {"batch": 8}]}, "two settings would be called 'study-b8'"),
        ({"settings": []}, "sweeps.study: set either vary, values by key, or settings"),
        ({"settings": [{"seed": 1}]}, "seed decides which rows are held back"),
        ({"select": {"on": "validation"}}, "sweeps.study.select.on: Input should be 'holdout'"),
        ({"select": None, "evaluate": "chosen"}, "evaluate: chosen needs select"),
        ({"recipe": "adapters", "select": {"metric": "row_score"}, "settings": [{"batch": 8}]}, "answers no rows"),
        ({"recipe": "qlora", "settings": [{"batch": 8}]}, "study-b8 holds back no rows; set the recipe's evaluation"),
        ({"train": "validation"}, "systems.study-b8-lr5e-5.train: split 'validation' is also in `evaluate`"),
        ({"model": "large"}, "systems.study-b8-lr5e-5.model: 'large' is not in `models`"),
    ],
)
def test_a_wrong_sweep_is_one_sentence(sweep, sentence):
    assert sentence in refusal(sweep)


def test_a_name_that_two_systems_would_have_is_refused():
    other = {"study-b8-lr5e-5": {"model": "tiny"}}
    assert "systems.study-b8-lr5e-5: sweeps.study gives that name too" in refusal(systems=other)
    assert "systems.study: sweeps.study gives that name too" in refusal(systems={"study": {"model": "tiny"}})
    twice = {"study": SWEEP | {"settings": [{"batch": 8, "learning_rate": 1e-3}]}, "study-b8": SWEEP | {"vary": {}}}
    twice["study-b8"] = SWEEP | {"settings": [{"learning_rate": 1e-3}]}
    assert "two systems would be called 'study-b8-lr1e-3'" in refusal(sweeps=twice)


def test_the_word_on_is_a_key_though_yaml_reads_it_as_true():
    assert yaml.safe_load("{on: holdout}") == {True: "holdout"}
    assert configured({"select": yaml.safe_load("{on: holdout, metric: loss}")}).sweeps["study"].select.on == "holdout"


@pytest.mark.parametrize(
    ("recipe", "sentence"),
    [
        ({"weights": "attention"}, "weights in 4 bits cannot be trained in full; set quantisation: none"),
        (FULL | {"lora": {"r": 8}}, "set either lora or weights"),
        ({"lora": None}, "set either lora or weights"),
        (FULL | {"optimiser": "adamw_torch", "momentum": 0.9}, "momentum is sgd's"),
        (FULL | {"weights": "tower"}, "Input should be 'language', 'attention' or 'all-linear'"),
        (FULL | {"sampling": {"balance": "colour"}}, "Input should be 'subset', 'task' or 'class'"),
        (FULL | {"sampling": {"balance": "task", "temperature": 0.5}}, "greater than or equal to 1"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(recipe, sentence):
    with pytest.raises(ValueError, match=sentence.replace("(", r"\(")):
        Recipe.model_validate(recipe)


def test_weights_in_full_are_answered_alone_and_behind_no_server():
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    raw["recipes"]["full"] = FULL
    raw["systems"]["tuned"]["recipe"] = "full"
    together = raw | {"inference": {"together": [["base", "tuned"]]}}
    with pytest.raises(ConfigurationError, match="weights trained in full replace the base's; part them"):
        load_configuration(together, "x")
    raw["engines"] = {"here": {"url": "http://localhost:8000/v1"}}
    raw["systems"]["tuned"] |= {"engine": "here", "served_as": "tuned"}
    with pytest.raises(ConfigurationError, match="trains weights in full, which no server adds to a base"):
        load_configuration(raw, "x")


def test_the_iit_delhi_study_ships_in_twelve_lines_with_its_seven_settings():
    file = ROOT / "config/paligemma2-sweep.yaml"
    text = file.read_text()
    block = text[text.index("\nrecipes:") : text.index("\nsystems:")]
    assert len(block.strip().splitlines()) == 12
    configuration = read_configuration(file)
    recipes = [configuration.recipes[name] for name in configuration.trained()]
    assert [(recipe.batch, recipe.learning_rate) for recipe in recipes] == [
        (8, 5e-5), (8, 1.5e-4), (8, 5e-4), (16, 1e-4), (16, 2e-4), (16, 5e-5), (16, 1.5e-4),
    ]  # fmt: skip
    assert [recipe.evaluation.keep for recipe in recipes] == ["best", "last", "best", "best", "best", "best", "last"]
    for recipe in recipes:
        assert (recipe.weights, recipe.optimiser, recipe.schedule, recipe.warmup) == ("attention", "sgd", "cosine", 0.1)
        assert (recipe.evaluation.rows, recipe.evaluation.samples) == (1024, 4)
