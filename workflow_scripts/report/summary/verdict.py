"""What the comparisons say, in sentences: in which tasks a system is better, worse, or not clearly different."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from workflow_scripts.core.rows import Comparison, MetricValue

LEVEL = 0.05
"""Corrected p values below it count as a difference."""

Change = Literal["better", "worse", "unclear", "untested"]


def change_of(row: Comparison) -> Change:
    """Whether the second system is better than the first: by direction, if the corrected p value is below 0.05."""
    if row.p_holm is None or row.difference is None:
        return "untested"
    if row.p_holm >= LEVEL or row.difference == 0:
        return "unclear"
    return "better" if (row.difference > 0) == (row.direction == "higher") else "worse"


@dataclass(frozen=True)
class Verdict:
    """What the comparisons of two systems say, task by task."""

    first: str
    second: str
    tuning: bool  # the second is the first, tuned
    tasks: dict[Change, list[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """Compared tasks."""
        return sum(map(len, self.tasks.values()))

    def of(self, change: Change) -> list[str]:
        """The tasks with this change."""
        return self.tasks.get(change, [])

    @property
    def sentence(self) -> str:
        """The verdict as a person reads it."""
        better, worse, unclear, untested = (
            len(self.of(change)) for change in ("better", "worse", "unclear", "untested")
        )
        total = f"{self.count} task{'' if self.count == 1 else 's'}"
        if self.tuning:
            parts = [f"Tuning helped in {better or 'none'} of {total}", f"harmed {worse or 'none'}"]
            rest = [(unclear, "made no clear difference in"), (untested, "could not be tested in")]
        else:
            parts = [f"{self.second} is better than {self.first} in {better or 'none'} of {total}"]
            parts.append(f"worse in {worse or 'none'}")
            rest = [(unclear, "not clearly different in"), (untested, "not tested in")]
        parts += [f"{words} {number}" for number, words in rest if number]
        return f"{', '.join(parts[:-1])}{',' if len(parts) > 2 else ''} and {parts[-1]}."


def verdict_of(rows: Iterable[Comparison], first: str, second: str, tuning: bool) -> Verdict | None:
    """The verdict of two systems over the macro lines; None where they were not compared."""
    tasks: dict[Change, list[str]] = {}
    for row in rows:
        if row.subset == "macro" and (row.system_a, row.system_b) in ((first, second), (second, first)):
            tasks.setdefault(change_of(_turned(row, first)), []).append(row.task)
    return Verdict(first, second, tuning, tasks) if tasks else None


def _turned(row: Comparison, first: str) -> Comparison:
    """The comparison with `first` as its first system."""
    if row.system_a == first:
        return row
    return Comparison(
        row.task,
        row.subset,
        row.metric,
        row.judge,
        row.direction,
        row.system_b,
        row.system_a,
        None if row.difference is None else -row.difference,
        None if row.high is None else -row.high,
        None if row.low is None else -row.low,
        row.p,
        row.p_holm,
        row.rows,
        row.clusters,
    )


def comparison_of(
    rows: Iterable[Comparison], task: str, first: str, second: str, subset: str = "macro"
) -> Comparison | None:
    """The comparison of two systems on a task, from the first to the second; None where there is none."""
    for row in rows:
        if (row.subset, row.task) == (subset, task) and {row.system_a, row.system_b} == {first, second}:
            return _turned(row, first)
    return None


@dataclass(frozen=True)
class AgainstBaselines:
    """How a system stands against each task's strongest baseline."""

    system: str
    tasks: dict[Change, list[str]]

    @property
    def sentence(self) -> str:
        """As a person reads it."""
        counts = {change: len(of_change) for change, of_change in self.tasks.items()}
        phrases: list[tuple[Change, str]] = [
            ("better", "clearly better in"),
            ("worse", "clearly worse in"),
            ("unclear", "not clearly different in"),
            ("untested", "not tested in"),
        ]
        parts = [
            f"{words} {counts[change]} ({', '.join(task.replace('_', ' ') for task in self.tasks[change])})"
            for change, words in phrases
            if counts.get(change)
        ]
        said = ", ".join(parts)
        return f"Against the strongest baseline of each task, which looks at no image, {self.system} is {said}."


def against_baselines(
    rows: Sequence[Comparison], values: Sequence[MetricValue], system: str, baselines: Collection[str]
) -> AgainstBaselines | None:
    """The system against the baseline with the best primary metric of each task, macro; None without comparisons."""
    tasks: dict[Change, list[str]] = {}
    best: dict[str, MetricValue] = {}
    for value in values:
        if value.system in baselines and value.primary and value.subset == "macro" and value.value is not None:
            strongest = best.get(value.task)
            if strongest is None or _ahead(value, strongest):
                best[value.task] = value
    for task, value in best.items():
        row = comparison_of(rows, task, value.system, system)
        if row is not None:
            tasks.setdefault(change_of(row), []).append(task)
    return AgainstBaselines(system, tasks) if tasks else None


def _ahead(one: MetricValue, other: MetricValue) -> bool:
    """Whether one value is better than another of the same metric."""
    if one.value is None or other.value is None:
        return one.value is not None
    return one.value > other.value if one.direction == "higher" else one.value < other.value
