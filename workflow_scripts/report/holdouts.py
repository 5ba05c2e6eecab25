"""Write a table that puts the values of a held-out group side by side: each system on every hospital in turn.

A system that trains without the hospital that it is evaluated on has one name here, though a system of its own was
trained for each: `tuned` stands for `tuned-without-A` on A, and so on. Systems that train on nothing of the group are
the same in every column.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import write_text
from workflow_scripts.core.groups.holdouts import Holdout
from workflow_scripts.core.pages.texts import metric_label, number_text
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.tasks import tasks
from workflow_scripts.report.escaping import markdown_cell, shown, spreadsheet_cell
from workflow_scripts.report.latex import TexCaption, TexCell, TexLine, holdout_table
from workflow_scripts.report.tables import cell_parts, cell_text

NAME = 80
"""Characters of a value in a heading."""

FIELDS = ("score", "low", "high", "rows", "clusters", "valid_share")
"""Numbers of a line of the CSV."""


@dataclass(frozen=True)
class HoldoutLine:
    """One system in one task: its primary metric on each held-out value."""

    task: str
    metric: str
    judge: str | None
    direction: str
    system: str
    cells: tuple[MetricValue | None, ...]  # in the order of the values

    @property
    def label(self) -> str:
        return f"{metric_label(self.metric, self.judge)} {'↑' if self.direction == 'higher' else '↓'}"

    @property
    def summary(self) -> tuple[str, str]:
        """The plain mean over the values, and the worst of them; dashes where one has no score."""
        scores = [cell.value for cell in self.cells if cell is not None and cell.value is not None]
        if len(scores) < len(self.cells):
            return "–", "–"
        worst = min(scores) if self.direction == "higher" else max(scores)
        return number_text(float(np.mean(scores))), number_text(worst)


def holdout_lines(of_value: Mapping[str, Sequence[MetricValue]], systems: Sequence[str]) -> list[HoldoutLine]:
    """The lines by task and system: macro, primary metrics.

    Args:
        of_value: metrics of each value's split, by the value's own name.
        systems: all systems in their order, those of single values too.
    """
    cells: dict[tuple[str, str, str | None, str, str], dict[str, MetricValue]] = {}
    names = list(dict.fromkeys(common_name(system, of_value) for system in systems))
    for value, metrics in of_value.items():
        for row in metrics:
            if row.primary and row.subset == "macro":
                system = common_name(row.system, of_value)
                cells.setdefault((row.task, row.metric, row.judge, row.direction, system), {})[value] = row
    order = list(tasks())
    keys = sorted(cells, key=lambda key: (order.index(key[0]), key[1], key[2] or "", names.index(key[4])))
    return [HoldoutLine(*key, tuple(cells[key].get(value) for value in of_value)) for key in keys]


def common_name(system: str, values: Mapping[str, object]) -> str:
    """What a system of a single value is called with those of the others."""
    return next((name for value in values if (name := system.removesuffix(f"-without-{value}")) != system), system)


def csv_text(name: str, spec: Holdout, lines: Sequence[HoldoutLine]) -> str:
    """A line for each system, task and held-out value."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["holdout", "group", "value", "task", "metric", "judge", "direction", "system", "evaluated_as"]
    writer.writerow([*head, *FIELDS])
    for line in lines:
        for text, cell in zip(spec.values.values(), line.cells, strict=True):
            known = [line.task, line.metric, line.judge or "", line.direction, line.system]
            numbers = (
                [] if cell is None else [cell.value, cell.low, cell.high, cell.rows, cell.clusters, cell.valid_share]
            )
            texts = [name, spec.group, text, *known, "" if cell is None else cell.system]
            writer.writerow([*map(spreadsheet_cell, texts), *(numbers or [None] * len(FIELDS))])
    return stream.getvalue()


def markdown(name: str, spec: Holdout, lines: Sequence[HoldoutLine]) -> str:
    """One line a task and system, one column a held-out value."""
    values = [markdown_cell(value, NAME) for value in spec.values.values()]
    head = ["task", "metric", "system", *values, "mean", "worst"]
    rows = [head, ["---"] * len(head)]
    for line in lines:
        task, label, system = (markdown_cell(text) for text in (line.task.replace("_", " "), line.label, line.system))
        rows.append([task, label, system, *map(cell_text, line.cells), *line.summary])
    table = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    return (
        f"# {markdown_cell(name)}: {markdown_cell(spec.group, NAME)} held out\n\n{table}\n\n"
        "Each column is evaluated by systems whose training saw no row, case or image of it. Brackets hold bootstrap "
        "intervals over cases. The mean is the plain one over columns, the worst the least good of them.\n"
    )


def write_holdouts(
    *,
    name: str,
    spec: Holdout,
    metrics: list[Path],
    systems: list[str],
    scoring: Scoring,
    csv_table: Path,
    markdown_table: Path,
    latex_table: Path,
) -> None:
    """Write the table of one holdout.

    Args:
        name: of the holdout.
        spec: its entry in the configuration, as JSON.
        metrics: tables of metrics, one a held-out value, in their order.
        systems: all systems in their order.
        scoring: the configuration's `scoring` as JSON.
        csv_table: CSV to write.
        markdown_table: Markdown to write.
        latex_table: LaTeX to write.
    """
    of_value = {value: read_rows(path, MetricValue) for value, path in zip(spec.values, metrics, strict=True)}
    lines = holdout_lines(of_value, systems)
    write_text(csv_table, csv_text(name, spec, lines))
    write_text(markdown_table, markdown(name, spec, lines))
    tex = [
        TexLine(
            line.task,
            line.system,
            metric_label(line.metric, line.judge),
            line.direction == "higher",
            max((cell.rows for cell in line.cells if cell is not None), default=0),
            tuple(TexCell(*cell_parts(cell)) for cell in line.cells),
        )
        for line in lines
    ]
    caption = TexCaption(name, scoring.confidence, scoring.resamples)
    values = [shown(value, NAME) for value in spec.values.values()]
    write_text(latex_table, holdout_table(tex, values, caption, spec.group))


if __name__ == "__main__":
    run_step(write_holdouts)
