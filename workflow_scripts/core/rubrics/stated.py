"""What a row states that its answers are graded by: a shipped rubric, or one with weighted items of the case's own.

A source writes a name (`"bond"`), a list of items (`[{"text": …, "points": 5}, …]`, graded as `item_list`), or an
object of both (`{"rubric": "management", "items": […]}`). HealthBench's `criterion` is a text, and its tag
`axis:accuracy` the name of an item. The rubrics themselves are YAML in `judges/rubrics`.
"""

import json
import math
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from workflow_scripts.core.config.section import canonical_json

RubricName = Literal["bond", "likert", "r_idea", "management", "item_list"]
NAMES: tuple[str, ...] = get_args(RubricName)
OF_ITEMS = ("management", "item_list")
"""Those whose items each case has of its own."""
WHOLE = 100.0
"""Points of the items of a `management` rubric together."""
MOST_ITEMS, MOST_POINTS, LONGEST = 200, 1000.0, 4000
"""Bounds of what a case states: items, points of one, characters of a text."""


class BadRubric(ValueError):
    """What a row states is no rubric; the message says why and what was expected."""


class Item(BaseModel):
    """One thing that an answer may do, with what it is worth."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: str
    points: float  # where it is met; below zero for what an answer should not do
    name: str = ""  # items of one name are scored together besides: an axis, a part of the task
    values: tuple[float, ...] = ()  # what may be awarded, where that is more than all or nothing

    @model_validator(mode="before")
    @classmethod
    def _of_other_layouts(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        given = dict(given)
        if "criterion" in given:
            given.setdefault("text", given.pop("criterion"))
        tags = given.pop("tags", ())
        axes = [str(tag).removeprefix("axis:") for tag in tags or () if str(tag).startswith("axis:")]
        if axes:
            given.setdefault("name", axes[0])
        for key in ("text", "name"):
            if isinstance(given.get(key), str):
                given[key] = " ".join(given[key].split())
        if isinstance(given.get("values"), list):
            given["values"] = tuple(given["values"])
        return given

    @field_validator("text")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text or len(text) > LONGEST:
            raise ValueError(f"a text of 1 to {LONGEST} characters is expected")
        return text

    @field_validator("points")
    @classmethod
    def _in_bounds(cls, points: float) -> float:
        if not math.isfinite(points) or not 0 < abs(points) <= MOST_POINTS:
            raise ValueError(f"points are a number other than 0, of {MOST_POINTS:g} at most")
        return points

    @model_validator(mode="after")
    def _all_or_nothing_among_them(self) -> "Item":
        if self.values and not {0.0, self.points} <= set(self.values):
            raise ValueError("`values` lists what may be awarded, 0 and all points among them")
        if any(value * self.points < 0 or abs(value) > abs(self.points) for value in self.values):
            raise ValueError("a value lies outside 0 and the item's points")
        return self

    @property
    def allowed(self) -> tuple[float, ...]:
        """What may be awarded."""
        return self.values or (0.0, self.points)


class Stated(BaseModel):
    """A rubric as a row states it."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    rubric: RubricName
    items: tuple[Item, ...] = ()

    @field_validator("items", mode="before")
    @classmethod
    def _listed(cls, items: Any) -> Any:
        return tuple(items) if isinstance(items, list) else items

    @model_validator(mode="after")
    def _items_where_they_belong(self) -> "Stated":
        if bool(self.items) != (self.rubric in OF_ITEMS):
            named = " and ".join(OF_ITEMS)
            raise ValueError(f"{named} need `items` of the case, the other rubrics have their own")
        if len(self.items) > MOST_ITEMS:
            raise ValueError(f"{len(self.items)} items, of {MOST_ITEMS} at most")
        positive = math.fsum(item.points for item in self.items if item.points > 0)
        if self.items and not positive:
            raise ValueError("no item has points above zero")
        if self.rubric == "management" and (positive != WHOLE or any(item.points < 0 for item in self.items)):
            raise ValueError(f"the points of its items are above zero and make {WHOLE:g} together, found {positive:g}")
        return self

    def text(self) -> str:
        """Canonical JSON, as `Row.rubric` holds it: the name alone where there are no items."""
        return canonical_json(self.model_dump(mode="json", exclude_defaults=True) if self.items else self.rubric)


def stated(given: object) -> Stated:
    """What a source or a row states, from its value or the JSON of it.

    Raises:
        BadRubric: it is none.
    """
    value = given
    if isinstance(given, str) and given.lstrip()[:1] in ("{", "[", '"'):
        try:
            value = json.loads(given)
        except (ValueError, RecursionError):
            raise BadRubric(f"{given[:40]!r} is not valid JSON") from None
    if isinstance(value, str):
        value = {"rubric": value.strip()}
    elif isinstance(value, list):
        value = {"rubric": "item_list", "items": value}
    if not isinstance(value, dict):
        raise BadRubric(f"{str(given)[:40]!r} is neither a rubric's name nor items; expected one of {', '.join(NAMES)}")
    if "rubric" in value and value["rubric"] not in NAMES:
        raise BadRubric(f"{str(value['rubric'])[:40]!r} is no rubric; expected one of {', '.join(NAMES)}")
    try:
        return Stated.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "rubric"
        raise BadRubric(f"{place}: {first['msg'].removeprefix('Value error, ')}") from None
    except RecursionError:
        raise BadRubric("it is nested too deeply") from None
