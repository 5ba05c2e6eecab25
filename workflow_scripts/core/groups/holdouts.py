"""Leave-one-out over the values of a group: a hospital is evaluated by systems that trained on the others alone."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema, field_validator

from workflow_scripts.core.config.datasets import Folder, Split
from workflow_scripts.core.config.scoring import GroupName
from workflow_scripts.core.config.section import Name, Section
from workflow_scripts.core.config.systems.entry import BaselineSystem
from workflow_scripts.core.config.systems.model import ModelSystem

VALUES = {
    "anyOf": [
        {"type": "object", "additionalProperties": {"type": "string"}},
        {"type": "array", "items": {"type": "string"}},
    ],
}
"""What editors take for values: texts by name, or texts that names are made of."""


class Holdout(Section):
    """Each value of a group is held out once: two splits for each, one that is evaluated and one that is trained on."""

    dataset: Name = Field(description="Name from `datasets`.")
    folder: Folder = Field(description="Split folder of the dataset.")
    group: GroupName = Field(description="Group, as the source's rows name it: hospital, scanner.")
    values: Annotated[dict[Name, str], WithJsonSchema(VALUES)] = Field(
        min_length=2,
        description="Values to hold out: [St. Mary, Charité], or by the name that splits and systems are to bear: "
        "{mary: St. Mary, charite: Charité}.",
    )
    only: tuple[str, ...] = Field((), description="Subsets to keep; empty means all.")
    exclude: tuple[str, ...] = Field((), description="Subsets to leave out.")
    tasks: tuple[str, ...] = Field((), description="Tasks to keep; empty means all.")
    limit: int | None = Field(None, ge=1, description="Most rows of each of the splits, whole cases.")

    @field_validator("values", mode="before")
    @classmethod
    def _names_of_values(cls, given: object) -> object:
        if not isinstance(given, list | tuple):
            return given
        named: dict[str, object] = {}
        for value in given:
            bare = "".join(
                sign for sign in unicodedata.normalize("NFKD", str(value)) if not unicodedata.combining(sign)
            )
            name = re.sub(r"[^A-Za-z0-9]+", "-", bare).strip("-")
            if not name or name in named:
                what = "has no letter or digit that a name may hold" if not name else f"would be called {name!r} too"
                raise ValueError(f"{value!r} {what}; give names: {{NAME: {value}, …}}")
            named[name] = value
        return named

    def splits(self, name: str) -> dict[str, Split]:
        """The splits of the holdout `name`: `NAME-VALUE` is evaluated, `NAME-without-VALUE` trained on.

        A row of which the source does not state the group is in none of them.
        """
        shared = self.model_dump(include={"dataset", "folder", "only", "exclude", "tasks", "limit"})
        splits = {}
        for own, value in self.values.items():
            evaluated, trained = self.names(name, own)
            splits[evaluated] = Split(**shared, where={self.group: (value,)})
            splits[trained] = Split(**shared, where_not={self.group: (value,)})
        return splits

    @staticmethod
    def names(name: str, value: str) -> tuple[str, str]:
        """What the two splits of a value are called, by the value's own name."""
        return f"{name}-{value}", f"{name}-without-{value}"


def add_holdouts(
    holdouts: Mapping[str, Holdout],
    splits: dict[str, Split],
    systems: dict[str, Any],
    evaluate: Iterable[str],
    sweeps: Iterable[str],
) -> tuple[str, ...]:
    """Add the splits of every holdout, and put in the place of each system that trains on one a system for each value.

    The systems are called `SYSTEM-without-VALUE`. What is there already is a configuration that was written down after
    this.

    Returns:
        What is evaluated: a holdout's name stands for the splits of its values.

    Raises:
        ValueError: something else has such a name, or a holdout cannot be used so.
    """
    evaluated = [split for name in evaluate for split in _evaluated(name, holdouts)]
    for name, holdout in holdouts.items():
        if name in splits:
            raise ValueError(f"holdouts.{name}: a split has that name too; call one of them otherwise")
        if missing := [split for split in _evaluated(name, holdouts) if split not in evaluated]:
            raise ValueError(f"holdouts.{name}: {missing[0]!r} is not evaluated; add {name!r} to `evaluate`")
        for own, split in holdout.splits(name).items():
            if splits.setdefault(own, split) != split:
                raise ValueError(f"splits.{own}: holdouts.{name} gives that name too; call one of them otherwise")
    written = dict(systems)
    systems.clear()
    for system, entry in written.items():
        if (train := entry.train) not in holdouts:
            others: dict[str, Any] = {system: entry}
        elif system in sweeps or not isinstance(entry, ModelSystem | BaselineSystem):
            raise ValueError(f"systems.{system}.train: {train!r} is a holdout; a sweep or a router needs one split")
        else:
            others = {
                f"{system}-without-{value}": entry.model_copy(update={"train": Holdout.names(train, value)[1]})
                for value in holdouts[train].values
            }
        for own, other in others.items():
            if systems.setdefault(own, other) != other:
                raise ValueError(f"systems.{own}: holdouts.{train} gives that name too; call one of them otherwise")
    return tuple(dict.fromkeys(evaluated))


def _evaluated(name: str, holdouts: Mapping[str, Holdout]) -> list[str]:
    if name not in holdouts:
        return [name]
    return [Holdout.names(name, value)[0] for value in holdouts[name].values]


def held_out_by(holdouts: Mapping[str, Holdout]) -> dict[str, str]:
    """The one split that systems are evaluated on, by the split that they train on."""
    pairs = (Holdout.names(name, value) for name, holdout in holdouts.items() for value in holdout.values)
    return {trained: evaluated for evaluated, trained in pairs}


def systems_on(split: str, systems: Mapping[str, Any], holdouts: Mapping[str, Holdout]) -> list[str]:
    """The systems that are evaluated on a split: all but those that trained without another value."""
    own = held_out_by(holdouts)
    return [name for name, entry in systems.items() if own.get(entry.train, split) == split]
