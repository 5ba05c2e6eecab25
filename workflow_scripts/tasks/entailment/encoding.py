"""Entailment for an encoder: a class of two texts."""

from collections.abc import Mapping, Sequence
from typing import Any

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.entailment.documents import pair_in
from workflow_scripts.tasks.entities.examples import Example, Output

HEAD = "classes"
MARKS: tuple[str, ...] = ()


def learn(rows: Sequence[Row]) -> dict[str, Any]:
    """The classes of the rows."""
    return {"labels": sorted({row.answer for row in rows})}


def examples(row: Row, known: Mapping[str, Any]) -> list[Example]:
    """The two texts of the question, or the whole question where it has no such lines."""
    return [Example(*pair_in(row.question), label=row.answer)]


def answer(row: Row, known: Mapping[str, Any], outputs: Sequence[Output]) -> str:
    """The class."""
    return str(outputs[0])
