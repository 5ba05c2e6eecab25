"""Baselines that answer from training rows alone."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, always, commonest

UNDECIDED = "The findings given are not enough to decide; further tests are needed."
"""An answer that fits every question and says nothing of any."""


def majority(rows: Sequence[Row]) -> Answer:
    """The commonest answer."""
    return always(commonest(rows))


def empty(rows: Sequence[Row]) -> Answer:
    """No text."""
    return always("")


def constant(rows: Sequence[Row]) -> Answer:
    """One answer that commits to nothing."""
    return always(UNDECIDED)


def answer_of(row: Row, asking: Row) -> str:
    """The answer of a training row."""
    return row.answer
