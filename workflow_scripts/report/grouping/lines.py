"""The lines of the tables by group, as readers see them: names are texts of a source, and are shown as such."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from workflow_scripts.core.groups.rows import NOT_STATED, GroupGap, GroupValue
from workflow_scripts.core.pages.texts import metric_label, number_text
from workflow_scripts.core.tasks import tasks
from workflow_scripts.report.escaping import shown
from workflow_scripts.report.summary.verdict import LEVEL

NAME = 80
"""Characters of a value that are shown."""

NOT_TESTED = "–"
"""Stands for the p value of a gap that is not tested."""


@dataclass(frozen=True)
class ValueLine:
    """One value of a group in one task: every system's metric."""

    task: str
    place: str  # a subset, or "macro"
    metric: str  # with its judge
    higher: bool
    value: str
    rows: int
    cases: int
    cells: dict[str, GroupValue | None] = field(default_factory=dict)  # by system, in their order

    @property
    def label(self) -> str:
        """The metric with its judge and what is better."""
        return f"{self.metric} {_arrow(self.higher)}"

    @property
    def ranked(self) -> bool:
        """Whether it takes part in some system's gaps."""
        return any(cell is not None and cell.ranked for cell in self.cells.values())


@dataclass(frozen=True)
class GapLine:
    """One gap of one system in one task."""

    task: str
    place: str
    label: str
    system: str
    between: str  # which values
    gap: str
    interval: str  # empty where there is none
    p: str  # corrected; a dash where the gap is not tested
    clear: bool  # its interval excludes zero, and its corrected p is below the level


@dataclass(frozen=True)
class GroupSection:
    """All that is shown of one group."""

    number: int  # from 1: figures are named after it
    name: str
    lines: tuple[ValueLine, ...]
    ranges: tuple[GapLine, ...]
    rest: tuple[GapLine, ...]

    @property
    def clear(self) -> tuple[GapLine, ...]:
        """The gaps that are beyond chance."""
        return tuple(line for line in (*self.ranges, *self.rest) if line.clear)

    @property
    def tested(self) -> bool:
        """Whether some gap has a p value."""
        return any(line.p != NOT_TESTED for line in (*self.ranges, *self.rest))

    @property
    def has_several_places(self) -> bool:
        """Whether some task has no mean over subsets that all values share."""
        return any(line.place != "macro" for line in self.lines)


def shown_value(value: str) -> str:
    """A value as a reader sees it."""
    return "not stated" if value == NOT_STATED else shown(value, NAME)


def group_sections(
    values: Iterable[GroupValue], gaps: Iterable[GroupGap], systems: Sequence[str], columns: Sequence[str]
) -> list[GroupSection]:
    """The groups in their configured order; those that no row states are left out.

    Of a task the mean over subsets is shown; where the values share no subset, every subset is.
    """
    values, gaps = list(values), list(gaps)
    order = {task: place for place, task in enumerate(tasks())}
    averaged = {(value.group, value.task) for value in values if value.subset == "macro"}

    def is_shown(row: GroupValue | GroupGap) -> bool:
        return (row.subset == "macro") == ((row.group, row.task) in averaged)

    sections = []
    for number, group in enumerate(columns, 1):
        lines = _value_lines([row for row in values if row.group == group and is_shown(row)], systems)
        own = [row for row in gaps if row.group == group and is_shown(row)]
        own.sort(key=lambda row: (order[row.task], row.subset))
        if lines:
            lines.sort(key=lambda line: order[line.task])
            by_kind = [tuple(_gap_line(row) for row in own if row.kind == kind) for kind in ("range", "rest")]
            sections.append(GroupSection(number, shown(group, NAME), tuple(lines), *by_kind))
    return sections


def _value_lines(values: Sequence[GroupValue], systems: Sequence[str]) -> list[ValueLine]:
    lines: dict[tuple[str, str, str], ValueLine] = {}
    for row in values:
        line = lines.setdefault(
            (row.task, row.subset, row.value),
            ValueLine(
                row.task,
                row.subset,
                metric_label(row.metric, row.judge),
                row.direction == "higher",
                shown_value(row.value),
                row.rows,
                row.clusters,
                dict.fromkeys(systems),
            ),
        )
        line.cells[row.system] = row
    return list(lines.values())


def _arrow(higher: bool) -> str:
    return "↑" if higher else "↓"


def _gap_line(row: GroupGap) -> GapLine:
    second = "all others" if row.second is None else shown_value(row.second)
    limits = (row.low, row.high)
    excludes = row.low is not None and row.high is not None and (row.low > 0 or row.high < 0)
    return GapLine(
        task=row.task,
        place=row.subset,
        label=f"{metric_label(row.metric, row.judge)} {_arrow(row.direction == 'higher')}",
        system=row.system,
        between=f"{shown_value(row.first)} − {second}",
        gap=number_text(row.gap),
        interval="" if None in limits else f"[{', '.join(number_text(end) for end in limits if end is not None)}]",
        p=NOT_TESTED if row.p_adjusted is None else "< 0.001" if row.p_adjusted < 0.001 else f"{row.p_adjusted:.3f}",
        clear=excludes and row.p_adjusted is not None and row.p_adjusted < LEVEL,
    )
