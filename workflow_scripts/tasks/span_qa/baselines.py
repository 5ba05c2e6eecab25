"""Baselines that answer from training rows alone."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, always, commonest
from workflow_scripts.tasks.entities.documents import before_text
from workflow_scripts.tasks.entities.mentions import places_of
from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.span_qa.spans import UNANSWERABLE


def majority(rows: Sequence[Row]) -> Answer:
    """The commonest answer to the same question about other texts, where this text holds it; else `unanswerable`."""
    by_question: dict[str, list[Row]] = {}
    for row in rows:
        by_question.setdefault(squeezed(before_text(row.question)), []).append(row)
    usual = {question: commonest(group) for question, group in by_question.items()}

    def answer(row: Row) -> str:
        words = usual.get(squeezed(before_text(row.question)), "")
        return words if words and places_of(words, row.expected.text or "", True) else UNANSWERABLE

    return answer


def empty(rows: Sequence[Row]) -> Answer:
    """That the text does not answer."""
    return always(UNANSWERABLE)


def constant(rows: Sequence[Row]) -> Answer:
    """That the text does not answer: no words stand in every text."""
    return always(UNANSWERABLE)


def answer_of(row: Row, asking: Row) -> str:
    """The answer of a training row, where the other row's text holds it; else `unanswerable`."""
    return row.answer if places_of(row.answer, asking.expected.text or "", True) else UNANSWERABLE
