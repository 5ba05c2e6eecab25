"""Baselines that answer from training rows alone."""

import json
import statistics
from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, always
from workflow_scripts.tasks.probability.intervals import interval_of, written


def majority(rows: Sequence[Row]) -> Answer:
    """The median of the training rows' midpoints, in the form that is asked for."""
    return _always(statistics.median(map(_middle, rows)))


def empty(rows: Sequence[Row]) -> Answer:
    """No text: a probability that is not given."""
    return always("")


def constant(rows: Sequence[Row]) -> Answer:
    """50 %: a coin."""
    return _always(50.0)


def answer_of(row: Row, asking: Row) -> str:
    """The answer of a training row in the form that the other row asks for."""
    return written(_middle(row), percent=asking.expected.percent)


def _middle(row: Row) -> float:
    """The midpoint of a row's interval, in per cent."""
    return interval_of(json.loads(row.answer_raw), percent=row.expected.percent).middle


def _always(value: float) -> Answer:
    return lambda row: written(value, percent=row.expected.percent)
