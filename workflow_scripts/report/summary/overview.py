"""The tables of the page: a task a line with what tells whether a system is better, subsets, modalities, outcomes."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from workflow_scripts.core.metrics import NOTES, UNRELIABLE
from workflow_scripts.core.pages.texts import number_text
from workflow_scripts.core.rows import Comparison, MetricValue, Row
from workflow_scripts.core.rubrics.stated import NAMES as RUBRICS
from workflow_scripts.report.summary.verdict import Change, change_of, comparison_of
from workflow_scripts.report.tables import JUDGED, HeadlineRow, cell_parts, headline, judged_share

CHANGES: dict[Change, str] = {
    "better": "better",
    "worse": "worse",
    "unclear": "no clear change",
    "untested": "not tested",
}


@dataclass(frozen=True)
class Cell:
    """A system's number in a table."""

    system: str
    value: str
    interval: str
    valid: str  # share of valid answers, with the judge's abstentions and invalid replies
    best: bool  # of the systems that are no baselines


@dataclass(frozen=True)
class Difference:
    """What a system adds to another one on a task."""

    first: str
    second: str
    text: str
    interval: str
    p: str
    change: Change

    @property
    def words(self) -> str:
        """The change in words."""
        return CHANGES[self.change]


@dataclass(frozen=True)
class Line:
    """One task, subset or modality of a table."""

    task: str
    place: str  # macro, a subset or a modality
    label: str
    rows: int
    cells: list[Cell]
    differences: list[Difference]
    notes: list[str]  # what a reader must bear in mind, in words


def lines_of(
    values: Sequence[MetricValue],
    comparisons: Sequence[Comparison],
    systems: Sequence[str],
    pairs: Sequence[tuple[str, str]],
    baselines: Iterable[str],
) -> list[Line]:
    """The primary metrics, macro and by subset, with the differences between the systems of `pairs`."""
    no_image = set(baselines)
    lines = []
    for row in headline(values, systems):
        differences = [
            difference_of(compared)
            for first, second in pairs
            if (compared := comparison_of(comparisons, row.task, first, second, row.subset)) is not None
            and (compared.metric, compared.judge) == (row.metric, row.judge)
        ]
        notes = [f"{note.replace('_', ' ')}: {NOTES[note]}" for note in row.notes]
        lines.append(Line(row.task, row.subset, row.label, row.rows, cells_of(row, no_image), differences, notes))
    return lines


def without_repeated_means(lines: Sequence[Line]) -> list[Line]:
    """The lines without the means over a single subset, which the line below repeats."""
    subsets = Counter(line.task for line in lines if line.place != "macro")
    return [line for line in lines if line.place != "macro" or subsets[line.task] > 1]


def cells_of(row: HeadlineRow, baselines: set[str]) -> list[Cell]:
    """A system's cell each; the best of the systems that look at images is marked, where there are several."""
    compared = {
        system: cell.value
        for system, cell in row.cells.items()
        if cell is not None and cell.value is not None and system not in baselines
    }
    best = (max if row.direction == "higher" else min)(compared.values()) if len(compared) > 1 else None
    cells = []
    for system, cell in row.cells.items():
        value, interval = cell_parts(cell)
        valid = "" if cell is None else judged_share(cell).replace("%", " %")
        cells.append(Cell(system, value, interval, valid, best is not None and compared.get(system) == best))
    return cells


def difference_of(row: Comparison) -> Difference:
    """The second system's metric minus the first's, as text."""
    text = "–" if row.difference is None else signed(row.difference)
    interval = "" if row.low is None or row.high is None else f"[{signed(row.low)}, {signed(row.high)}]"
    return Difference(row.system_a, row.system_b, text, interval, p_text(row.p_holm), change_of(row))


def signed(value: float) -> str:
    """A difference with its sign."""
    text = number_text(value)
    return text.replace("-", "−") if value < 0 else f"+{text}"


def p_text(p: float | None) -> str:
    """A p value as it is printed in papers."""
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


@dataclass(frozen=True)
class ModalityLine:
    """The mean of a task's primary metric over the subsets of one modality."""

    task: str
    modality: str
    label: str
    subsets: list[str]
    rows: int
    values: list[tuple[str, str]]  # system and number


def modality_lines(values: Sequence[MetricValue], systems: Sequence[str], rows: Sequence[Row]) -> list[ModalityLine]:
    """Each task by modality: the plain mean over its subsets; a subset of two modalities stands under both names."""
    modalities: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        modalities[row.subset].add(row.modality)
    groups: dict[tuple[str, str], list[HeadlineRow]] = defaultdict(list)
    for line in headline(values, systems):
        if line.subset != "macro":
            groups[line.task, " and ".join(sorted(modalities[line.subset]))].append(line)
    return [
        ModalityLine(
            task,
            modality,
            lines[0].label,
            [line.subset for line in lines],
            sum(line.rows for line in lines),
            [(system, _mean_text([line.cells[system] for line in lines])) for system in systems],
        )
        for (task, modality), lines in groups.items()
    ]


def _mean_text(cells: Sequence[MetricValue | None]) -> str:
    numbers = [cell.value for cell in cells if cell is not None and cell.value is not None]
    return "–" if len(numbers) < len(cells) else number_text(sum(numbers) / len(numbers))


@dataclass(frozen=True)
class JudgedScore:
    """A judge's score of one system, and what it would be had every row without a judgement scored worst or best."""

    value: MetricValue
    lowest: MetricValue | None
    highest: MetricValue | None

    @property
    def caution(self) -> str:
        """Why the judge is not relied on, in words; empty where it is."""
        notes = (self.value.note or "").split("; ")
        return next((NOTES[note] for note in UNRELIABLE if note in notes), "")


def judged_scores(values: Iterable[MetricValue], systems: Sequence[str]) -> list[JudgedScore]:
    """CRIMSON, GREEN and rubrics over all subsets, by judge, each with the systems in their order."""
    judged = {
        (value.judge, value.metric, value.system): value
        for value in values
        if value.judge and value.stratum is None and value.subset == "macro"
    }
    return [
        JudgedScore(
            judged[judge, metric, system],
            judged.get((judge, f"{metric}_lowest", system)),
            judged.get((judge, f"{metric}_highest", system)),
        )
        for judge in sorted({str(name) for name, _, _ in judged})
        for metric in (*JUDGED, *RUBRICS)
        for system in systems
        if (judge, metric, system) in judged
    ]
