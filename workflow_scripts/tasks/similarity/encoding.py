"""Similarity for an encoder: a number for two texts."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.entailment.documents import pair_in
from workflow_scripts.tasks.entities.examples import Example, Output

HEAD = "number"
MARKS: tuple[str, ...] = ()


def learn(rows: Sequence[Row]) -> dict[str, Any]:
    """Mean and spread of the rows' numbers: the head learns how many spreads a number lies from the mean."""
    numbers = [row.number for row in rows if row.number is not None]
    return {"mean": statistics.fmean(numbers), "spread": statistics.pstdev(numbers) or 1.0}


def examples(row: Row, known: Mapping[str, Any]) -> list[Example]:
    """The two texts of the question, or the whole question where it has no such lines."""
    number = None if row.number is None else (row.number - known["mean"]) / known["spread"]
    return [Example(*pair_in(row.question), number=number)]


def answer(row: Row, known: Mapping[str, Any], outputs: Sequence[Output]) -> str:
    """The number, with three decimals."""
    (value,) = outputs
    assert isinstance(value, float)
    return f"{known['mean'] + known['spread'] * value:.3f}"
