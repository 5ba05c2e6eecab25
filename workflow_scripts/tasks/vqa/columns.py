"""Means of per-row scores under the names of the protocols that they follow."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from workflow_scripts.core.metrics import ScoredAnswer, Sums, ratio


def texts_of(answers: Sequence[ScoredAnswer]) -> list[tuple[str, str]]:
    """Reference and final answer of each row; a missing answer is an empty one."""
    return [(str(answer.reference), answer.text or "") for answer in answers]


def scores(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Scores of rows, each with the same names, as columns: [rows] each; none without rows."""
    return {name: np.array([row[name] for row in rows], dtype=float) for name in rows[0]} if rows else {}


def mean_of(column: str, rows: str = "rows") -> Callable[[Sums], np.ndarray]:
    """The mean of a column over the rows that another one counts."""
    return lambda s: ratio(s[column], s[rows])


def unless_stopped(value: Callable[[Sums], np.ndarray], stops: str) -> Callable[[Sums], np.ndarray]:
    """A metric without a value where one row stops the evaluation that defines it."""
    return lambda s: np.where(s[stops] > 0, np.nan, value(s))
