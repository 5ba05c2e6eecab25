"""Baselines that answer from training rows alone. A number cannot be empty: without one, the median is given."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, always, median_number, own_answer


def median_similarity(rows: Sequence[Row]) -> Answer:
    """The median similarity."""
    return always(f"{median_number(rows):g}")


majority = empty = constant = median_similarity
answer_of = own_answer
