"""Rubrics: what a judge is asked to grade an answer by, as YAML beside this module, and how grades make a score.

A rubric of the formula `level` asks for one value of its levels; `sum` for a value of each item, added up; `share` for
which items are met: the points of those that are, by the sum of all points above zero, cut to [0, 1] (HealthBench,
Arora and others 2025, there cut below only; no sum lies above 1).
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.rubrics.stated import Item, RubricName, Stated, stated

FILES: dict[RubricName, str] = {
    "bond": "bond.yaml",
    "likert": "likert.yaml",
    "r_idea": "r_idea.yaml",
    "management": "management.yaml",
    "item_list": "item_list.yaml",
}
"""The shipped rubrics; each name is also that of its metric."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scale(_Frozen):
    """The ends of a score."""

    least: float
    most: float


class GradedItem(_Frozen):
    """One part of an answer that has a value of its own."""

    name: str = ""
    text: str
    levels: dict[float, str]  # what may be given, with its meaning
    met: float | None = None  # the value of an item that is met or not, where it is graded so


class Rubric(_Frozen):
    """What an answer is graded by."""

    name: RubricName
    title: str
    source: str
    ask: str = Field(description="What the judge is to do, in a sentence or two.")
    formula: Literal["level", "sum", "share"]
    scale: Scale
    levels: dict[float, str] = Field({}, description="Formula `level`: what may be given, with its meaning.")
    items: tuple[GradedItem, ...] = ()
    case_items: bool = Field(False, description="Whether each case has items of its own.")

    @field_validator("levels")
    @classmethod
    def _in_order(cls, levels: dict[float, str]) -> dict[float, str]:
        return dict(sorted(levels.items(), reverse=True))

    @model_validator(mode="after")
    def _one_formula(self) -> "Rubric":
        if bool(self.levels) != (self.formula == "level"):
            raise ValueError("`levels` belong to the formula `level` and to no other")
        if not self.levels and not self.items and not self.case_items:
            raise ValueError("give `items`, or say `case_items: true`")
        if self.formula == "level" and (min(self.levels), max(self.levels)) != (self.scale.least, self.scale.most):
            raise ValueError("the ends of `scale` are the least and the greatest of `levels`")
        if self.formula == "sum" and self.items:
            ends = [math.fsum(end(item.levels) for item in self.items) for end in (min, max)]
            if ends != [self.scale.least, self.scale.most]:
                raise ValueError(f"the items' values make {ends[0]:g} to {ends[1]:g}, which is not the `scale`")
        return self

    @property
    def allowed(self) -> tuple[float, ...]:
        """The scores that the formula `level` can have, falling."""
        return tuple(self.levels)

    def text(self) -> str:
        """Canonical JSON of all that a judge is asked by."""
        return canonical_json(self.model_dump(mode="json", exclude={"source"}))

    def total(self, values: Sequence[float]) -> float:
        """The score that the items' values make, on the rubric's scale."""
        return total_of(self, self.items, values)

    def parts(self, values: Sequence[float]) -> dict[str, float]:
        """The scores of items of one name, by the name: their sum, or their share; those of no name have none."""
        names = dict.fromkeys(item.name for item in self.items if item.name)
        scores = {}
        for name in names:
            own = [(item, value) for item, value in zip(self.items, values, strict=True) if item.name == name]
            items, of_items = [item for item, _ in own], [value for _, value in own]
            if self.formula != "share" or any((item.met or 0) > 0 for item in items):
                scores[name] = total_of(self, items, of_items)
        return scores

    def unit(self, score: float) -> float:
        """A score from 0 to 1."""
        return (score - self.scale.least) / (self.scale.most - self.scale.least)


def total_of(rubric: Rubric, items: Sequence[GradedItem], values: Sequence[float]) -> float:
    """Values of items added up; of the formula `share`, by the points above zero and cut to [0, 1]."""
    total = math.fsum(values)
    if rubric.formula != "share":
        return total
    positive = math.fsum(item.met for item in items if item.met is not None and item.met > 0)
    return min(max(total / positive, 0.0), 1.0)


def resolved(given: object) -> Rubric:
    """The rubric that a row states: shipped, or with the case's items.

    Raises:
        BadRubric: it states none.
    """
    said = given if isinstance(given, Stated) else stated(given)
    rubric = shipped(said.rubric)
    if not said.items:
        return rubric
    return rubric.model_copy(update={"items": tuple(_graded(item) for item in said.items)})


def _graded(item: Item) -> GradedItem:
    levels = dict.fromkeys(sorted(item.allowed), "")
    return GradedItem(name=item.name, text=item.text, levels=levels, met=None if item.values else item.points)


@cache
def shipped(name: RubricName) -> Rubric:
    """A rubric of this folder."""
    path = Path(__file__).parent / FILES[name]
    given: Mapping[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return Rubric.model_validate(given)


def rubric_of(text: str) -> Rubric:
    """The rubric of its own canonical JSON, see `Rubric.text`."""
    import json

    return Rubric.model_validate({"source": "", **json.loads(text)})
