"""Write the metrics as tables: everything as CSV and JSON, and what a reader compares as Markdown and LaTeX.

The Markdown has one line a task with its primary metric, averaged over subsets (macro), and one line a subset below.
A system's cell is `value [low, high]`; the share of valid answers stands in columns of its own, and the last column
says why a number is to be read with care. The LaTeX marks the best value of a line, and differences beyond chance.
Beside them stands a methods section.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pv

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.scoring import PublishedNumbers, Scoring
from workflow_scripts.core.files import atomic, write_json, write_text
from workflow_scripts.core.metrics import NOTES, Note
from workflow_scripts.core.pages.texts import metric_label, number_text
from workflow_scripts.core.provenance import write_provenance
from workflow_scripts.core.rows import Comparison, MetricValue
from workflow_scripts.core.rubrics.stated import NAMES as RUBRICS
from workflow_scripts.core.tables import read_rows, read_table, rows_of
from workflow_scripts.core.tasks import tasks
from workflow_scripts.report.escaping import markdown_cell, spreadsheet_cell
from workflow_scripts.report.latex import TexCaption, TexCell, TexLine, graded_table, latex_tables, published_table
from workflow_scripts.report.lineage import lineage
from workflow_scripts.report.methods.section import methods_text
from workflow_scripts.report.results import results_of
from workflow_scripts.report.summary.published import CAUTION, HEADING, PublishedLine, published_lines
from workflow_scripts.report.summary.verdict import LEVEL
from workflow_scripts.report.validity import columns
from workflow_scripts.report.validity.columns import GradedLine, graded_lines, greyed

NONE_PUBLISHED = PublishedNumbers({})

JUDGED = ("crimson", "green")
"""Metrics that stand for a judge's judgements of reports; its others are made of the same ones."""


@dataclass(frozen=True)
class HeadlineRow:
    """One line of the table of primary metrics."""

    task: str
    subset: str  # a subset or "macro"
    metric: str
    judge: str | None
    direction: str
    rows: int
    clusters: int
    cells: dict[str, MetricValue | None] = field(default_factory=dict)  # by system, in their order

    @property
    def notes(self) -> list[Note]:
        """Why the numbers are to be read with care, of any system, in the order of `NOTES`."""
        texts = [cell.note for cell in self.cells.values() if cell is not None and cell.note]
        named = {name for text in texts for name in text.split("; ")}
        return [note for note in NOTES if note in named]

    @property
    def label(self) -> str:
        """The metric with its judge, and an arrow that points to what is better."""
        return f"{metric_label(self.metric, self.judge)} {'↑' if self.direction == 'higher' else '↓'}"


def headline(values: Iterable[MetricValue], systems: Sequence[str]) -> list[HeadlineRow]:
    """The primary metrics by task: the mean over subsets first, then each subset."""
    order = list(tasks())
    lines: dict[tuple[int, str, str, bool, str], HeadlineRow] = {}
    for value in values:
        if value.primary and value.subset != "pooled":
            place = order.index(value.task)
            key = (place, value.metric, value.judge or "", value.subset != "macro", value.subset)
            if key not in lines:
                lines[key] = HeadlineRow(
                    value.task,
                    value.subset,
                    value.metric,
                    value.judge,
                    value.direction,
                    value.rows,
                    value.clusters,
                    dict.fromkeys(systems),
                )
            lines[key].cells[value.system] = value
    return [lines[key] for key in sorted(lines)]


def cell_parts(cell: MetricValue | None) -> tuple[str, str]:
    """Value and `[low, high]` with the digits that their size deserves; a dash where there is no value."""
    if cell is None or cell.value is None:
        return "–", ""
    if cell.low is None or cell.high is None:
        return number_text(cell.value), ""
    return number_text(cell.value), f"[{number_text(cell.low)}, {number_text(cell.high)}]"


def cell_text(cell: MetricValue | None) -> str:
    """Value and interval on one line."""
    return " ".join(cell_parts(cell)).strip()


def judge_faults(cell: MetricValue) -> list[tuple[int, str]]:
    """How many rows the judge abstained on, and how many of its replies are invalid, where there are any."""
    return [(count, name) for count, name in ((cell.abstained, "abstained"), (cell.invalid, "invalid")) if count]


def missing_judgements(values: Iterable[MetricValue], systems: Sequence[str]) -> list[str]:
    """A line for each judge with abstentions or invalid replies, whether or not its metric heads the table.

    `judge lab (green): base 8 of 8 invalid; tuned 2 of 8 abstained, 1 of 8 invalid`, in rows of all subsets. Metrics of
    the same judgements share a line.
    """
    judged = {
        (value.judge, value.metric, value.system): value
        for value in values
        if value.judge and value.metric in (*JUDGED, *RUBRICS) and value.subset == "macro" and value.stratum is None
    }
    metrics: dict[tuple[str, str], list[str]] = {}
    for judge, metric in sorted({(str(judge), metric) for judge, metric, _ in judged}):
        faults = []
        for system in systems:
            cell = judged.get((judge, metric, system))
            if cell is not None and (counts := judge_faults(cell)):
                faults.append(f"{system} {', '.join(f'{count} of {cell.rows} {name}' for count, name in counts)}")
        if faults:
            metrics.setdefault((judge, "; ".join(faults)), []).append(metric)
    return [f"judge {judge} ({', '.join(names)}): {faults}" for (judge, faults), names in metrics.items()]


def judged_share(cell: MetricValue) -> str:
    """The share of valid rows, with the judge's abstentions and invalid replies, if any: `80% (2 abstained)`."""
    faults = ", ".join(f"{count} {name}" for count, name in judge_faults(cell))
    return f"{cell.valid_share:.0%}" + (f" ({faults})" if faults else "")


def markdown_table(values: Iterable[MetricValue], systems: Sequence[str]) -> str:
    """The table of primary metrics as Markdown; below it, what its notes mean, and which judgements are missing."""
    values = list(values)
    head = ["task", "subset", "metric", "n", *systems, *(f"valid {system}" for system in systems), "note"]
    lines = [[markdown_cell(name) for name in head], ["---"] * len(head)]
    shown = headline(values, systems)
    for line in shown:
        cells = [line.cells[system] for system in systems]
        subset = markdown_cell(line.subset)
        lines.append(
            [
                markdown_cell(line.task.replace("_", " ")),
                f"**{subset}**" if line.subset == "macro" else subset,
                markdown_cell(line.label),
                str(line.rows),
                *map(cell_text, cells),
                *("–" if cell is None else judged_share(cell) for cell in cells),
                ", ".join(note.replace("_", " ") for note in line.notes),
            ]
        )
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"
    legend = "".join(f"- {name.replace('_', ' ')}: {meaning}\n" for name, meaning in notes_of(shown).items())
    legend += "".join(f"- {markdown_cell(line)}\n" for line in missing_judgements(values, systems))
    return f"{table}\n{legend}" if legend else table


def notes_of(lines: Iterable[HeadlineRow | GradedLine]) -> dict[Note, str]:
    """The notes that occur, with what they mean."""
    occurring = {note for line in lines for note in line.notes}
    return {note: meaning for note, meaning in NOTES.items() if note in occurring}


def without_formulas(table: pa.Table) -> pa.Table:
    """The table with every text as a spreadsheet may open it, see `spreadsheet_cell`."""
    columns = []
    for column in table.schema:
        values = table[column.name]
        if pa.types.is_string(column.type):
            texts = [None if text is None else spreadsheet_cell(text) for text in values.to_pylist()]
            columns.append(pa.array(texts, column.type))
        else:
            columns.append(values)
    return pa.Table.from_arrays(columns, schema=table.schema)


def better_than(
    comparisons: Iterable[Comparison], level: float
) -> dict[tuple[str, str, str, str | None, str], set[str]]:
    """Systems that a system is better than beyond chance, by task, subset, metric, judge and system.

    Args:
        comparisons: paired comparisons.
        level: below which a corrected p value counts.
    """
    better: dict[tuple[str, str, str, str | None, str], set[str]] = {}
    for row in comparisons:
        if row.difference and row.p_holm is not None and row.p_holm < level:
            second_wins = (row.difference > 0) == (row.direction == "higher")
            winner, loser = (row.system_b, row.system_a) if second_wins else (row.system_a, row.system_b)
            better.setdefault((row.task, row.subset, row.metric, row.judge, winner), set()).add(loser)
    return better


def best_of(line: HeadlineRow, oracles: Collection[str] = ()) -> set[str]:
    """The systems whose value is the best of its line as it is shown; none where all are alike, or where one stands.

    Oracles, which have read the scores, are never among them.
    """
    texts = {
        system: number_text(cell.value)
        for system, cell in line.cells.items()
        if cell and cell.value is not None and system not in oracles
    }
    if len(set(texts.values())) < 2:
        return set()
    sign = 1 if line.direction == "higher" else -1
    best = max(texts.values(), key=lambda text: sign * float(text))
    return {system for system, text in texts.items() if text == best}


def tex_lines(
    values: Iterable[MetricValue],
    systems: Sequence[str],
    comparisons: Iterable[Comparison],
    level: float,
    oracles: Collection[str] = (),
) -> list[TexLine]:
    """The lines of the LaTeX tables."""
    better = better_than(comparisons, level)
    lines = []
    for line in headline(values, systems):
        best = best_of(line, oracles)
        cells = []
        for system, cell in line.cells.items():
            value, interval = cell_parts(cell)
            losers = better.get((line.task, line.subset, line.metric, line.judge, system), set())
            valid = f"{judged_share(cell)} valid" if cell is not None and cell.valid_share < 1 else ""
            worse = tuple(name for name in systems if name in losers)
            cells.append(TexCell(value, interval, system in best, worse, valid))
        notes = tuple(note.replace("_", " ") for note in line.notes)
        label, higher = metric_label(line.metric, line.judge), line.direction == "higher"
        lines.append(TexLine(line.task, line.subset, label, higher, line.rows, tuple(cells), notes))
    return lines


def latex_table(
    values: Iterable[MetricValue],
    systems: Sequence[str],
    comparisons: Iterable[Comparison],
    split: str,
    scoring: Scoring,
    oracles: Collection[str] = (),
) -> str:
    """The tables of primary metrics in LaTeX."""
    values = list(values)
    meanings = notes_of(headline(values, systems)).items()
    caption = TexCaption(
        split,
        scoring.confidence,
        scoring.resamples,
        tuple((name.replace("_", " "), meaning) for name, meaning in meanings),
        tuple(missing_judgements(values, systems)),
    )
    return latex_tables(tex_lines(values, systems, comparisons, LEVEL, oracles), systems, caption)


def graded_markdown(values: Iterable[MetricValue], systems: Sequence[str]) -> str:
    """The scores by rubrics, with what their notes mean; empty where there are none."""
    lines = graded_lines(values, systems)
    if not lines:
        return ""
    head = ["task", "subset", "rubric", "n", *systems, *(f"valid {system}" for system in systems), "note"]
    rows = [[markdown_cell(name) for name in head], ["---"] * len(head)]
    for line in lines:
        subset, cells = markdown_cell(line.subset), [line.cells[system] for system in systems]
        rows.append(
            [
                markdown_cell(line.task.replace("_", " ")),
                f"**{subset}**" if line.subset == "macro" else subset,
                markdown_cell(f"{line.label} ↑"),
                str(line.rows),
                *(greyed(cell_text(cell), line) for cell in cells),
                *("–" if cell is None else judged_share(cell) for cell in cells),
                ", ".join(note.replace("_", " ") for note in line.notes),
            ]
        )
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    legend = "".join(f"- {name.replace('_', ' ')}: {meaning}\n" for name, meaning in notes_of(lines).items())
    return f"\n## {columns.HEADING}\n\n{columns.CAUTION}\n\n{table}\n" + (f"\n{legend}" if legend else "")


def graded_latex(values: Iterable[MetricValue], systems: Sequence[str], caption: TexCaption) -> str:
    """The same in LaTeX; empty where there are none."""
    lines = graded_lines(values, systems)
    if not lines:
        return ""
    tex = []
    for line in lines:
        cells = tuple(TexCell(*cell_parts(cell), grey=line.grey) for cell in line.cells.values())
        notes = tuple(note.replace("_", " ") for note in line.notes)
        tex.append(TexLine(line.task, line.subset, line.label, True, line.rows, cells, notes))
    meanings = tuple((name.replace("_", " "), meaning) for name, meaning in notes_of(lines).items())
    text = f"{columns.HEADING}. {columns.CAUTION.replace('in parentheses', 'in grey')}"
    return "\n" + graded_table(tex, systems, replace(caption, meanings=meanings), text)


def published_parts(line: PublishedLine) -> tuple[str, str]:
    """A published number and its interval, as `cell_parts` writes those of this run."""
    limits = "" if line.limits is None else f"[{', '.join(map(number_text, line.limits))}]"
    return number_text(line.value), limits


def published_markdown(lines: Sequence[PublishedLine], systems: Sequence[str]) -> str:
    """Numbers of others beside this run's own; empty where there are none."""
    if not lines:
        return ""
    head = ["imported", "task", "subset", "metric", "n", "published value", *systems, "source"]
    rows = [[markdown_cell(name) for name in head], ["---"] * len(head)]
    for line in lines:
        texts = [markdown_cell(text) for text in (line.name, line.task, line.subset, line.metric)]
        size = "–" if line.rows is None else str(line.rows)
        numbers = [" ".join(published_parts(line)).strip(), *map(cell_text, line.own)]
        rows.append([*texts, size, *numbers, markdown_cell(line.source)])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return f"\n## {HEADING}\n\n{CAUTION}\n\n{table}\n"


def published_latex(lines: Sequence[PublishedLine], systems: Sequence[str], caption: TexCaption) -> str:
    """The same in LaTeX; empty where there are none."""
    if not lines:
        return ""
    tex = []
    for line in lines:
        cells = (TexCell(*published_parts(line)), *(TexCell(*cell_parts(cell)) for cell in line.own))
        tex.append(TexLine(line.task, f"{line.name}: {line.subset}", line.metric, None, line.rows or 0, cells))
    sources = dict.fromkeys(f"{line.name}: {line.source}." for line in lines)
    return "\n" + published_table(tex, systems, caption, f"{HEADING}. {CAUTION} {' '.join(sources)}")


def write_tables(
    *,
    metrics: Path,
    comparisons: Path,
    systems: list[str],
    csv: Path,
    markdown: Path,
    latex: Path,
    numbers: Path,
    methods: Path,
    results: Path,
    oracles: Sequence[str] = (),
    published: PublishedNumbers = NONE_PUBLISHED,
) -> None:
    """Write every metric as CSV and JSON, the primary ones as Markdown and LaTeX, a methods section, and a sidecar.

    Args:
        metrics: table of metrics.
        comparisons: table of paired comparisons.
        systems: the systems in the order of the columns.
        csv: CSV to write.
        markdown: Markdown to write.
        latex: LaTeX to write.
        numbers: JSON to write of every number with its provenance.
        methods: Markdown to write of the methods.
        results: results folder, whose files the sidecar names with their hashes.
        oracles: those of the systems that have read the scores; they are never the best of a line.
        published: the configuration's `published` as JSON.
    """
    split = csv.parent.name
    table = read_table(metrics, MetricValue)
    values, compared = rows_of(table, MetricValue), read_rows(comparisons, Comparison)
    stands_on = lineage(results, split, systems)
    scoring = Scoring.model_validate(stands_on["configuration"].get("scoring", {}))
    with atomic(csv) as temporary:
        pv.write_csv(without_formulas(table), temporary)
    others = published_lines(published.root, values, systems)
    of_rubrics = graded_markdown(values, systems)
    write_text(markdown, markdown_table(values, systems) + of_rubrics + published_markdown(others, systems))
    caption = TexCaption(split, scoring.confidence, scoring.resamples)
    tex = latex_table(values, systems, compared, split, scoring, oracles)
    tex += graded_latex(values, systems, caption)
    write_text(latex, tex + published_latex(others, systems, caption))
    every_number = results_of(split, systems, values, compared, results, stands_on)
    imported = {"published": published.model_dump(mode="json")} if others else {}
    write_json(numbers, every_number | imported)
    write_text(methods, methods_text(results, split, systems, stands_on))
    write_provenance(provenance_of(csv), stands_on)


def provenance_of(table: Path) -> Path:
    """The sidecar of a table."""
    return table.with_name(f"{table.stem}.provenance.json")


if __name__ == "__main__":
    run_step(write_tables)
