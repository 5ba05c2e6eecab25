"""Baselines that answer from training rows alone."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, commonest, commonest_answer, no_text, own_answer
from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.vqa.usual_answers import by_question


def majority(rows: Sequence[Row]) -> Answer:
    """The commonest answer to the same question; to a new question the commonest answer of all."""
    known, usual = by_question(rows), commonest(rows)
    return lambda row: known.get(squeezed(row.question), usual)


empty = no_text
constant = commonest_answer
answer_of = own_answer
