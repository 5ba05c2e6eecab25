"""Baselines that answer from training rows alone."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, commonest, own_answer
from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.vqa.usual_answers import by_question


def majority(rows: Sequence[Row]) -> Answer:
    """The commonest answer to the same question; to a new one as `constant`."""
    known, other = by_question(rows), constant(rows)
    return lambda row: known.get(squeezed(row.question)) or other(row)


def empty(rows: Sequence[Row]) -> Answer:
    """The usual answer: a choice cannot be empty."""
    return majority(rows)


def constant(rows: Sequence[Row]) -> Answer:
    """The commonest answer of all; where the question does not admit it, the first that it does."""
    usual = commonest(rows)

    def answer(row: Row) -> str:
        expected = row.expected
        letters = expected.answer_by == "letter"
        admitted = [option.letter if letters else option.text for option in expected.options] or list(expected.labels)
        return usual if not admitted or squeezed(usual) in map(squeezed, admitted) else admitted[0]

    return answer


answer_of = own_answer
