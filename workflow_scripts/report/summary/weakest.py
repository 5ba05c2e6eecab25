"""On which subsets a system is weakest, by the share of rows that are right by their own task's metric.

Tasks with free text are left out: hardly a report is right to the last word, so that reports would always be weakest.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from workflow_scripts.core.rows import Row
from workflow_scripts.core.tasks import tasks
from workflow_scripts.report.cases.payload import CaseData

SHOWN = 3
"""Subsets that are named."""


@dataclass(frozen=True)
class WeakPlace:
    """The rows of one task in one subset."""

    task: str
    subset: str
    right: int
    rows: int


@dataclass(frozen=True)
class WeakestSubsets:
    """The subsets with the smallest shares of right rows, the weakest first."""

    system: str
    places: list[WeakPlace]


def weakest_subsets(data: CaseData, every_row: Sequence[Row], system: str) -> WeakestSubsets:
    """The weakest subsets of a system over all rows; of equal shares the one with more rows comes first."""
    rows: Counter[tuple[str, str]] = Counter()
    right: Counter[tuple[str, str]] = Counter()
    for row in every_row:
        level = data.scores.level(data.outcome(row, system))
        if level == "unscored" or tasks()[row.task].free_text:  # hardly a report is right to the last word
            continue
        place = (row.task, row.subset)
        rows[place] += 1
        right[place] += level == "right"
    ranked = sorted(rows, key=lambda place: (right[place] / rows[place], -rows[place], place))
    return WeakestSubsets(system, [WeakPlace(*place, right[place], rows[place]) for place in ranked[:SHOWN]])
