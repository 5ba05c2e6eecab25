"""The columns of rubrics, by judge: those of a judge that is not relied on are grey, with a note that says why."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from workflow_scripts.core.metrics import NOTES, UNRELIABLE, Note
from workflow_scripts.core.pages.texts import metric_label
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.core.rubrics.stated import NAMES

HEADING = "Graded by rubrics"
CAUTION = (
    "Scores by a judge's grades, each on its rubric's own scale. Values in parentheses are of a judge whose validity "
    "is not shown: they head, rank and decide nothing."
)


@dataclass(frozen=True)
class GradedLine:
    """One rubric by one judge, or a part of it, on a subset or as the mean over subsets."""

    task: str
    subset: str
    label: str
    rows: int
    cells: dict[str, MetricValue | None] = field(default_factory=dict)  # by system, in their order

    @property
    def notes(self) -> list[Note]:
        """Why the numbers are to be read with care, of any system, in the order of `NOTES`."""
        named = {name for cell in self.cells.values() if cell and cell.note for name in cell.note.split("; ")}
        return [note for note in NOTES if note in named]

    @property
    def grey(self) -> bool:
        """Whether the judge is not relied on."""
        return not {*self.notes}.isdisjoint(UNRELIABLE)


def graded_lines(values: Iterable[MetricValue], systems: Sequence[str]) -> list[GradedLine]:
    """The lines of all rubrics and judges: the mean over subsets before each subset, a rubric before its parts."""
    lines: dict[tuple[str, str, str, str, bool, str], GradedLine] = {}
    for value in values:
        if value.judge is None or value.metric not in NAMES or value.subset == "pooled":
            continue
        part = value.stratum or ""
        key = (value.task, value.metric, value.judge, part, value.subset != "macro", value.subset)
        if key not in lines:
            label = metric_label(value.metric, value.judge) + (f": {part.replace('_', ' ')}" if part else "")
            lines[key] = GradedLine(value.task, value.subset, label, value.rows, dict.fromkeys(systems))
        lines[key].cells[value.system] = value
    return [lines[key] for key in sorted(lines)]


def greyed(text: str, line: GradedLine) -> str:
    """A number as plain text shows it: in parentheses where the judge is not relied on."""
    return f"({text})" if line.grey and text != "–" else text
