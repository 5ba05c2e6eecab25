"""Baselines that answer from training rows alone."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, always, commonest_answer, no_text, own_answer

UNDECIDED = "The findings given are not enough to decide; further tests are needed."
"""An answer that fits every question and says nothing of any."""

majority = commonest_answer
empty = no_text
answer_of = own_answer


def constant(rows: Sequence[Row]) -> Answer:
    """One answer that commits to nothing."""
    return always(UNDECIDED)
