"""The rows of a task, cut by the values of a group."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from workflow_scripts.core.groups.rows import NOT_STATED
from workflow_scripts.score.statistics import sums_by_cluster
from workflow_scripts.score.task_facts import TaskFacts

LISTED = 50
"""Most values of a group with a line of their own; the rarer ones share a line."""


@dataclass(frozen=True)
class Cut:
    """The rows of one task in one subset, cut by the values of a group."""

    rows: np.ndarray  # places in the task
    cases: np.ndarray  # codes of the rows' cases
    values: np.ndarray  # codes of the rows' values, among those of the task
    ranked: np.ndarray  # whether enough cases bear a value: [values]

    @property
    def case_count(self) -> int:
        return int(self.cases.max()) + 1

    def sums(self, packed: np.ndarray) -> np.ndarray:
        """Sums of the rows by case and value: [cases × values × columns]."""
        codes = self.cases * len(self.ranked) + self.values
        cells = self.case_count * len(self.ranked)
        padded = np.concatenate([packed, np.zeros((1, packed.shape[1]))])
        return sums_by_cluster(padded, np.append(codes, cells - 1)).reshape(self.case_count, len(self.ranked), -1)

    def cases_of(self, value: int) -> int:
        """Cases of which some row bears the value."""
        return len(np.unique(self.cases[self.values == value]))


@dataclass(frozen=True)
class Values:
    """The values of a group in a task: those with a line each, the others that share one, and rows without any."""

    names: tuple[str, ...]  # of all lines
    listed: int  # the first ones, which have a line each
    joined: int  # how many values share the line after these; 0: there is no such line
    labels: np.ndarray  # codes by row of the task: places in `names`


def values_of(texts: Sequence[str], most: int = LISTED) -> Values:
    """The values of the rows of a task; of more than `most`, those of the most rows have a line each."""
    counts = Counter(text for text in texts if text != NOT_STATED)
    listed = sorted(sorted(counts, key=lambda text: (-counts[text], text))[:most])
    joined = len(counts) - len(listed)
    names = [*listed, *([f"{joined} others"] if joined else []), *([NOT_STATED] if NOT_STATED in texts else [])]
    place_of = {text: place for place, text in enumerate(listed)}
    labels = [len(names) - 1 if text == NOT_STATED else place_of.get(text, len(listed)) for text in texts]
    return Values(tuple(names), len(listed), joined, np.array(labels, dtype=int))


def cut_by(task: TaskFacts, values: Values, least_cases: int) -> dict[str, Cut]:
    """Each subset cut by the values of a group."""
    cuts = {}
    for subset in sorted(set(task.subsets)):
        here = np.flatnonzero(task.subsets == subset)
        _, cases = np.unique(task.cases[here], return_inverse=True)
        cut = Cut(here, cases, values.labels[here], np.zeros(len(values.names), dtype=bool))
        ranked = [place < values.listed and cut.cases_of(place) >= least_cases for place in range(len(values.names))]
        cuts[str(subset)] = replace(cut, ranked=np.array(ranked))
    return cuts
