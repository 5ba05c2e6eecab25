"""How to tune: a recipe is data, and every value of it is part of the weights' identity. A sweep varies one."""

import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from itertools import product
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from workflow_scripts.core.config.section import Name, Section
from workflow_scripts.core.config.systems.model import ModelSystem, Prompt

Targets = Literal["language", "attention", "all-linear"]


class Lora(Section):
    """Low-rank adapters: rank, scale, dropout and which projections they touch."""

    r: int = Field(16, ge=1, description="Rank.")
    alpha: int = Field(16, ge=1, description="Scale: updates are multiplied by alpha / r.")
    dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Dropout on the adapter's input; with any, training on a GPU takes some 1.4 times as long.",
    )
    targets: Targets = Field(
        "language",
        description="language: the seven projections of each language layer; attention: its q, k, v, o; "
        "all-linear: the vision tower's too.",
    )


class Evaluation(Section):
    """Loss on rows held back from the training split, whole cases, spread over subsets and tasks."""

    every: int = Field(200, ge=1, description="Steps between evaluations.")
    rows: int = Field(256, ge=1, description="Rows to hold back, about.")
    patience: int | None = Field(None, ge=1, description="Evaluations without a better loss before stopping.")
    keep: Literal["best", "last"] = Field(
        "best", description="Which checkpoint is published: that of the least loss, or the last."
    )
    samples: int = Field(
        0, ge=0, description="Held-back rows that are answered at each evaluation, and shown beside the curves."
    )


class Sampling(Section):
    """How often an epoch shows which rows, where it does not show each once."""

    balance: Literal["subset", "task", "class"] = Field(
        description="What is balanced: subsets; tasks; or classes, the answers of each subset and task that recur."
    )
    cap: int | None = Field(None, ge=1, description="Most rows of one group in an epoch, others in each; null: all.")
    temperature: float | None = Field(
        None, ge=1, description="Groups share an epoch by their rows to the power 1/temperature; null: equally."
    )


class Recipe(Section):
    """QLoRA with a frozen vision tower, unless the values say otherwise."""

    quantisation: Literal["nf4", "none"] = Field("nf4", description="nf4: 4-bit base with double quantisation.")
    lora: Lora | None = Field(Lora(), description="Low-rank adapters: r, alpha, dropout, targets; not with `weights`.")
    weights: Targets | None = Field(
        None,
        description="Instead of `lora`: train these projections' own weights in full, as `lora.targets` names them.",
    )
    learning_rate: float = Field(2e-4, gt=0, description="Peak learning rate.")
    schedule: Literal["linear", "cosine", "constant"] = Field("linear", description="After the warm-up.")
    warmup: float = Field(0.03, ge=0, lt=1, description="Share of the steps that warm up.")
    epochs: float | None = Field(3.0, gt=0, description="Passes over the rows; fractions are fine.")
    steps: int | None = Field(None, ge=1, description="Optimiser steps instead of epochs.")
    batch: int = Field(16, ge=1, description="Rows of one optimiser step.")
    micro_batch: int | None = Field(None, ge=1, description="Most rows on a device at once; null: by its memory.")
    optimiser: Literal["adamw_torch", "adamw_torch_fused", "paged_adamw_8bit", "sgd"] = Field(
        "adamw_torch", description="paged_adamw_8bit needs a GPU."
    )
    momentum: float = Field(0.0, ge=0, lt=1, description="Momentum of sgd.")
    weight_decay: float = Field(0.0, ge=0, description="Weight decay: decoupled, of sgd coupled.")
    max_grad_norm: float = Field(0.3, gt=0, description="Gradient clipping.")
    fp8: bool = Field(
        False,
        description="Matrix products of the frozen language model in 8-bit floating point: needs an H100 or newer and "
        "a Gemma 3; the adapters stay in bfloat16.",
    )
    gradient_checkpointing: bool = Field(False, description="Trade speed for memory.")
    save_every: int = Field(50, ge=1, description="Steps between checkpoints.")
    evaluation: Evaluation | None = Field(
        None,
        description="Held-back rows: every, rows, patience, keep, samples; null: none, and the last step is published.",
    )
    sampling: Sampling | None = Field(
        None, description="Shares of an epoch: balance, cap, temperature; null: each row once."
    )
    seed: int = Field(42, ge=0, description="Seed of adapters, dropout and order.")

    @property
    def touched(self) -> Targets:
        """Which projections change, by adapters or in full."""
        if self.weights is not None:
            return self.weights
        assert self.lora is not None
        return self.lora.targets

    @property
    def tunes_tower(self) -> bool:
        """Whether the vision tower changes, so that its stored output cannot be used."""
        return self.touched == "all-linear"

    def fault_of_float8(self, name: str, family: str, gpus: int) -> str | None:
        """Why the recipe `name` does not train a model of `family` on `gpus` in 8-bit floating point; None: it may."""
        if self.fp8 and family != "gemma3":
            return f"recipes.{name}.fp8: layers of family {family} are not trained in 8 bits; leave fp8 out"
        if self.fp8 and gpus == 0:
            return f"recipes.{name}.fp8: the job takes no GPU, and 8 bits need an H100 or newer; leave fp8 out"
        return None

    @model_validator(mode="before")
    @classmethod
    def _no_adapters_beside_weights(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("weights") is not None and "lora" not in given:
            return given | {"lora": None}
        return given

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("set either epochs or steps, and the other to null")
        if (self.lora is None) == (self.weights is None):
            raise ValueError("set either lora or weights, and leave out the other or set it to null")
        if self.fp8 and (self.lora is None or self.lora.targets == "attention" or self.lora.dropout):
            raise ValueError(
                "fp8 is for adapters on all projections of each layer, without dropout: set lora.targets to language "
                "or all-linear and lora.dropout to 0, or fp8 to false"
            )
        if self.weights is not None and self.quantisation != "none":
            raise ValueError("weights in 4 bits cannot be trained in full; set quantisation: none, or use lora")
        if self.momentum and self.optimiser != "sgd":
            raise ValueError(f"momentum is sgd's; {self.optimiser} has its own, leave it out")
        return self


class Selection(Section):
    """How a sweep chooses among its settings, before any evaluated split is read."""

    on: Literal["holdout"] = Field(
        "holdout", description="holdout: rows held back from the training split, see `evaluation.rows` of a recipe."
    )
    metric: Literal["loss", "row_score"] = Field(
        "loss",
        description="Of the published checkpoint. loss: least. row_score: greatest mean of how right the answers of "
        "`evaluation.samples` are by their tasks' own metrics, 0 to 1.",
    )


Value = int | float | str | bool | None

SHORT = {"batch": "b", "learning_rate": "lr", "lora.r": "r", "lora.alpha": "alpha", "lora.targets": "", "weights": ""}
"""How a key is written in a setting's name; others by their last word, and nothing before a word."""

COMPARABLE = ("seed", "evaluation.rows", "evaluation.samples", "evaluation")
"""Keys that decide which rows are held back, or answered: settings that differ in them cannot be chosen among."""


class Sweep(Section):
    """Settings of one recipe, each a system of its own, named after what it sets."""

    model: Name = Field(description="Name from `models`.")
    recipe: Name = Field(description="Name from `recipes`: what every setting starts from.")
    train: Name = Field(description="Split to tune on.")
    prompt: Prompt = Prompt()
    vary: dict[str, tuple[Value, ...]] = Field(
        {}, description="Every combination of these values: {batch: [8, 16], lora.r: [8, 32]}."
    )
    settings: tuple[dict[str, Value], ...] = Field(
        (), description="Or these settings alone: [{batch: 8, learning_rate: 5.0e-5}, …]."
    )
    select: Selection | None = Field(
        None, description="on, metric: choose one setting, which is then the system of the sweep's name; null: none."
    )
    evaluate: Literal["all", "chosen"] = Field(
        "all", description="all: every setting is evaluated, after the selection; chosen: the chosen one alone."
    )

    @model_validator(mode="after")
    def _either(self) -> "Sweep":
        if bool(self.vary) == bool(self.settings):
            raise ValueError("set either vary, values by key, or settings, a list of settings")
        if empty := [key for key, values in self.vary.items() if not values]:
            raise ValueError(f"vary.{empty[0]}: expected at least one value")
        if self.evaluate == "chosen" and self.select is None:
            raise ValueError("evaluate: chosen needs select, which says how to choose")
        if self.select and (keys := [key for changes in self.changes() for key in changes if key in COMPARABLE]):
            raise ValueError(f"{keys[0]} decides which rows are held back: the settings of a selection share it")
        return self

    def changes(self) -> list[dict[str, Value]]:
        """What each setting changes of the recipe, by key; a dot leads into a section."""
        if self.settings:
            return list(self.settings)
        return [dict(zip(self.vary, values, strict=True)) for values in product(*self.vary.values())]

    def recipes(self, name: str, recipe: Recipe) -> dict[str, Recipe]:
        """The recipe of each setting of the sweep `name`, by the setting's own name.

        Raises:
            ValueError: a key or a value is not a recipe's, two settings are one, or the selection has nothing to read.
        """
        settings: dict[str, Recipe] = {}
        for changes in self.changes():
            setting = _changed(recipe, changes, f"sweeps.{name}")
            own = "-".join([name, *(_word(key, setting) for key in changes)])
            if own in settings:
                raise ValueError(f"sweeps.{name}: two settings would be called {own!r}; leave out one of them")
            settings[own] = setting
        if self.select:
            for own, setting in settings.items():
                if setting.evaluation is None:
                    raise ValueError(f"sweeps.{name}.select: {own} holds back no rows; set the recipe's evaluation")
                if self.select.metric == "row_score" and not setting.evaluation.samples:
                    raise ValueError(f"sweeps.{name}.select: {own} answers no rows; set evaluation.samples")
        return settings

    def system(self, recipe: str) -> ModelSystem:
        """The system of one setting, by the name of its recipe."""
        return ModelSystem(model=self.model, train=self.train, recipe=recipe, prompt=self.prompt)

    def names(self, name: str, recipes: Mapping[str, Recipe]) -> list[str]:
        """The settings of the sweep `name`, in their order."""
        return list(self.recipes(name, recipes[self.recipe]))


def add_settings(sweeps: Mapping[str, Sweep], recipes: dict[str, Recipe], systems: dict[str, Any]) -> None:
    """Add the recipe of every setting, and the systems of those that are evaluated, by their names.

    A sweep that chooses adds a system of its own name: the chosen setting, under the recipe that all start from. What
    is there already is a configuration that was written down after this.

    Raises:
        ValueError: a sweep cannot be expanded, or something else has a name that it gives.
    """
    written = {name: sweep.recipes(name, _start_of(name, sweep, recipes)) for name, sweep in sweeps.items()}
    names = Counter(own for settings in written.values() for own in settings)
    if twice := [own for own, count in (names + Counter(sweeps.keys())).items() if count > 1]:
        raise ValueError(f"sweeps: two systems would be called {twice[0]!r}; give a sweep another name")
    for name, sweep in sweeps.items():
        added = {own: sweep.system(own) for own in written[name]} if sweep.evaluate == "all" else {}
        if sweep.select:
            added[name] = sweep.system(sweep.recipe)
        for section, entries in (("recipes", written[name]), ("systems", added)):
            there: dict[str, Any] = recipes if section == "recipes" else systems
            for own, entry in entries.items():
                if there.setdefault(own, entry) != entry:
                    raise ValueError(f"{section}.{own}: sweeps.{name} gives that name too; call one of them otherwise")


def _start_of(name: str, sweep: Sweep, recipes: Mapping[str, Recipe]) -> Recipe:
    if sweep.recipe not in recipes:
        allowed = ", ".join(sorted(recipes)) or "none"
        raise ValueError(f"sweeps.{name}.recipe: {sweep.recipe!r} is not in `recipes`; allowed: {allowed}")
    return recipes[sweep.recipe]


def _changed(recipe: Recipe, changes: Mapping[str, Value], place: str) -> Recipe:
    """The recipe with some values replaced; raises ValueError where it has no such key or value."""
    raw = recipe.model_dump(mode="json")
    for key, value in changes.items():
        section = raw
        *outer, last = key.split(".")
        for word in outer:
            section = section.get(word) if isinstance(section, dict) else None  # type: ignore[assignment]
        if not isinstance(section, dict) or last not in section or isinstance(section[last], dict):
            raise ValueError(f"{place}: {key!r} is not a value of its recipe; as in batch, learning_rate, lora.r")
        section[last] = value
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, (place, *fault["loc"])))
        raise ValueError(f"{where}: {fault['msg'].removeprefix('Value error, ')}") from None


def _word(key: str, recipe: Recipe) -> str:
    """One value of a setting as a part of its name: b8, lr5e-5, last."""
    value: Any = recipe
    for part in key.split("."):
        value = getattr(value, part)
    last = key.rpartition(".")[2]
    if isinstance(value, str):
        text = SHORT.get(key, "") + value
    elif isinstance(value, bool) or value is None:
        text = f"{last}-{'none' if value is None else 'yes' if value else 'no'}"
    else:
        text = SHORT.get(key, last) + _digits(value)
    return re.sub(r"[^A-Za-z0-9]+", "-", text) if isinstance(value, str) else text


def _digits(value: int | float) -> str:
    """A number without a dot, as names of files take it: 0.00015 is 15e-5, 3.0 is 3."""
    if value == int(value):
        return str(int(value))
    _, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    return f"{''.join(map(str, digits))}e{exponent}"
