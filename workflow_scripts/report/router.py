"""Write what routers do on a split: who answers what, how often a classifier is right, and what that costs.

The CSV has one line for each router and class of rows, and one over all rows: accuracy with its interval, rows that the
classifier was unsure of, its confusions (`read as CLASS`), who answered (`answered by SYSTEM`), parameters, and seconds
as `train.router` noted them. The JSON beside it is what the page shows.
"""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import write_json, write_text
from workflow_scripts.core.pages.texts import number_text
from workflow_scripts.core.rows import MetricValue, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.models.routing.rows import RoutedRow, RouterConfusion, RouterScore
from workflow_scripts.report.escaping import spreadsheet_cell
from workflow_scripts.report.lineage import read_object
from workflow_scripts.report.tables import headline

ALL = "all"
"""The class of the lines over all rows."""


@dataclass(frozen=True)
class RouterLine:
    """One line of the table."""

    system: str
    router: str
    in_use: bool
    label: str
    rows: int
    accuracy: float | None
    low: float | None
    high: float | None
    unsure: int | None
    parameters: int | None
    seconds: float | None  # of learning
    seconds_per_1000_questions: float | None
    read_as: dict[str, int]  # rows by the class that was read
    answered_by: dict[str, int]  # rows by expert


@dataclass(frozen=True)
class TaskLine:
    """A task's primary metric behind a router, beside its best expert's."""

    task: str
    metric: str
    rows: int
    value: str
    expert: str  # the one whose answers score best alone, over all rows of the task
    best: str
    answered_by: dict[str, int]


def router_lines(
    routes: Sequence[RoutedRow],
    scores: Iterable[RouterScore],
    confusions: Iterable[RouterConfusion],
    speed: Mapping[str, Mapping[str, Any]],
) -> list[RouterLine]:
    """The lines of one routed system: the router in use first, all rows before the classes.

    Args:
        routes: what each of its routers chooses for every row.
        scores: accuracies of its classifiers; none where it has none.
        confusions: their confusions.
        speed: what its classifiers took, by name.
    """
    scored = {(score.router, score.label): score for score in scores}
    taken = Counter({(row.router, row.label, row.chosen): row.rows for row in confusions})
    lines = []
    for router in sorted({row.router for row in routes}, key=lambda name: _order(name, routes)):
        own = [row for row in routes if row.router == router]
        cost = speed.get(router, {})
        for label in (None, *sorted({row.label for row in own if row.label is not None})):
            rows = [row for row in own if label is None or row.label == label]
            score = scored.get((router, label))
            read = Counter[str]()
            for (name, of_label, chosen), count in taken.items():
                if name == router and label in (None, of_label):
                    read[chosen] += count
            lines.append(
                RouterLine(
                    system=own[0].system,
                    router=router,
                    in_use=own[0].in_use,
                    label=ALL if label is None else label,
                    rows=len(rows),
                    accuracy=score.accuracy if score else None,
                    low=score.low if score else None,
                    high=score.high if score else None,
                    unsure=score.unsure if score else None,
                    parameters=score.parameters if score and label is None else None,
                    seconds=cost.get("seconds") if label is None else None,
                    seconds_per_1000_questions=cost.get("seconds_per_1000_questions") if label is None else None,
                    read_as=dict(sorted(read.items())),
                    answered_by=dict(sorted(Counter(row.expert for row in rows).items())),
                )
            )
    return lines


def _order(router: str, routes: Sequence[RoutedRow]) -> tuple[bool, str]:
    return (not any(row.in_use for row in routes if row.router == router), router)


def task_lines(
    routes: Sequence[RoutedRow], tasks: Mapping[str, str], values: Sequence[MetricValue], experts: Sequence[str]
) -> list[TaskLine]:
    """Each task's primary metric of a routed system and of its best expert, the mean over subsets.

    Args:
        routes: what its routers choose for every row.
        tasks: the task of each row, by uid.
        values: every metric of the split.
        experts: the systems that may answer.
    """
    in_use = [row for row in routes if row.in_use]
    system = in_use[0].system
    lines = []
    for line in headline(values, [system, *experts]):
        cell = line.cells[system]
        if line.subset != "macro" or cell is None or cell.value is None:
            continue
        alone = {name: one.value for name in experts if (one := line.cells[name]) is not None and one.value is not None}
        best = (max if line.direction == "higher" else min)(alone, key=lambda name: alone[name], default=None)
        counts = Counter(row.expert for row in in_use if tasks[row.uid] == line.task)
        lines.append(
            TaskLine(
                task=line.task,
                metric=line.label,
                rows=line.rows,
                value=number_text(cell.value),
                expert=best or "–",
                best="–" if best is None else number_text(alone[best]),
                answered_by=dict(counts.most_common()),
            )
        )
    return lines


def csv_text(lines: Sequence[RouterLine]) -> str:
    """The table as CSV: counts of a class or an expert that a line has nothing of are zero."""
    read = dict.fromkeys(name for line in lines for name in line.read_as)
    answered = dict.fromkeys(name for line in lines for name in line.answered_by)
    fields = [name for name in RouterLine.__dataclass_fields__ if name not in ("read_as", "answered_by")]
    head = [*fields, *(f"read as {name}" for name in read), *(f"answered by {name}" for name in answered)]
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([spreadsheet_cell(name) for name in head])
    for line in lines:
        cells = [getattr(line, name) for name in fields]
        cells += [line.read_as.get(name, 0) if line.read_as else None for name in read]
        cells += [line.answered_by.get(name, 0) for name in answered]
        writer.writerow([spreadsheet_cell(cell) if isinstance(cell, str) else cell for cell in cells])
    return stream.getvalue()


def write_router(
    *,
    split: Path,
    routes: list[Path],
    experts: list[str],
    metrics: Path,
    table: Path,
    shown: Path,
    scores: Sequence[Path] = (),
    confusions: Sequence[Path] = (),
    speeds: Sequence[Path] = (),
) -> None:
    """Write the table of a split's routers, and what the page shows of them.

    Args:
        split: table of the split's rows.
        routes: tables of chosen experts, one a routed system.
        experts: for each of them, the systems that may answer, joined by `+`.
        metrics: table of metrics.
        table: CSV to write.
        shown: JSON to write.
        scores: accuracies of classifiers, of any of these systems.
        confusions: their confusions.
        speeds: what they took, below a folder that is named after its system each; one that is not there is left out.
    """
    tasks = {row.uid: row.task for row in read_rows(split, Row)}
    values = read_rows(metrics, MetricValue)
    every_score = [score for path in scores for score in read_rows(path, RouterScore)]
    every_confusion = [row for path in confusions for row in read_rows(path, RouterConfusion)]
    speed_of = {path.parents[1].name: read_object(path) for path in speeds if path.is_file()}
    lines: list[RouterLine] = []
    systems = []
    for path, named in zip(routes, experts, strict=True):
        chosen = read_rows(path, RoutedRow)
        system = chosen[0].system
        own = router_lines(
            chosen,
            [score for score in every_score if score.system == system],
            [row for row in every_confusion if row.system == system],
            speed_of.get(system, {}),
        )
        lines += own
        by_task = task_lines(chosen, tasks, values, named.split("+"))
        systems.append({"system": system, "lines": list(map(asdict, own)), "tasks": list(map(asdict, by_task))})
    write_text(table, csv_text(lines))
    write_json(shown, {"systems": systems})


if __name__ == "__main__":
    run_step(write_router)
