"""Baselines that answer from training rows alone."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, always, commonest
from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.vqa.usual_answers import by_question


def majority(rows: Sequence[Row]) -> Answer:
    """The commonest answer to the same question; to a new question the commonest answer of all."""
    known, usual = by_question(rows), commonest(rows)
    return lambda row: known.get(squeezed(row.question), usual)


def empty(rows: Sequence[Row]) -> Answer:
    """No text."""
    return always("")


def constant(rows: Sequence[Row]) -> Answer:
    """The commonest answer of all, to every question."""
    return always(commonest(rows))


def answer_of(row: Row, asking: Row) -> str:
    """The answer of a training row as the answer to another row."""
    return row.answer
