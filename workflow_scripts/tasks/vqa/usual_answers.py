"""The commonest answers of training rows: to each question, and to all."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import commonest
from workflow_scripts.tasks.language.text import squeezed


def by_question(rows: Sequence[Row]) -> dict[str, str]:
    """The commonest answer to each question, by the question in lower case with single spaces."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(squeezed(row.question), []).append(row)
    return {question: commonest(group) for question, group in groups.items()}
