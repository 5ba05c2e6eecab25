"""Write one offline HTML page: the table, cases of every task with each system's answer, and what was left out.

Everything a model or a dataset wrote is escaped by the template engine; images are embedded.
"""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
from PIL import Image

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.files import write_text
from workflow_scripts.core.images import open_image
from workflow_scripts.core.rows import Agreement, Comparison, MetricValue, Outcome, Prediction, QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.tasks import tasks
from workflow_scripts.report.tables import cell_parts, headline, metric_label, number_text

SIDE = 176
"""Longest side of an embedded image, in pixels."""

TEMPLATE = "page.html.jinja"

Key = tuple[str, str]
"""A uid and a system."""


@dataclass(frozen=True)
class ShownAnswer:
    """What a case shows of one system."""

    system: str
    text: str
    outcome: str
    right: bool  # the reference's own text


@dataclass(frozen=True)
class Case:
    """One row with its images as data addresses and each system's answer."""

    row: Row
    images: list[str]
    answers: list[ShownAnswer]


def thumbnail(image: Image.Image) -> str:
    """An image as a data address, at most `SIDE` pixels a side."""
    small = image.copy()
    small.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode("ascii")


def chosen_rows(rows: Sequence[Row], count: int) -> dict[str, list[Row]]:
    """`count` rows of each task, spread over its subsets, the same in every run."""
    chosen: dict[str, list[Row]] = {}
    for task in tasks():
        turns: Counter[str] = Counter()
        ranked = []
        for row in sorted((row for row in rows if row.task == task), key=lambda row: _rank(row.uid)):
            ranked.append((turns[row.subset], row.subset, row))
            turns[row.subset] += 1
        if ranked:
            chosen[task] = [row for _, _, row in sorted(ranked, key=lambda entry: entry[:2])[:count]]
    return chosen


def _rank(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()


def shown_answer(system: str, row: Row, text: str | None, outcome: str) -> ShownAnswer:
    """What a case shows of one system; `text` is None where it gave no answer."""
    return ShownAnswer(system, text or "", outcome, text is not None and text.strip() == row.answer.strip())


def differing_conditions(answers: Mapping[Key, Prediction], systems: Iterable[str]) -> list[str]:
    """Sentences about systems that answered under different conditions, so that more than the model differs.

    Args:
        answers: predictions by uid and system.
        systems: the systems in their order.
    """
    generated = [(system, prediction) for (_, system), prediction in answers.items() if prediction.engine]
    conditions = {
        "engine": {(system, str(prediction.engine)) for system, prediction in generated},
        "bound by a grammar": {(system, str(prediction.constrained)) for system, prediction in generated},
    }
    sentences = []
    for name, pairs in conditions.items():
        values = {system: tuple(sorted(value for of, value in pairs if of == system)) for system in systems}
        if len({of_system for of_system in values.values() if of_system}) > 1:
            listed = "; ".join(f"{system}: {', '.join(of_system)}" for system, of_system in values.items() if of_system)
            sentences.append(f"{name} — {listed}")
    return sentences


def write_page(
    *,
    report: Report,
    systems: list[str],
    metrics: Path,
    comparisons: Path,
    agreement: Path,
    split: Path,
    root: Path,
    outcomes: list[Path],
    predictions: list[Path],
    quarantine: Path,
    out: Path,
    baselines: Sequence[str] = (),
) -> None:
    """Write the page of one split.

    Args:
        report: the configuration's `report` as JSON.
        systems: the systems in their order.
        metrics: table of metrics.
        comparisons: table of paired comparisons.
        agreement: table of agreement between report metrics.
        split: table of the split's rows.
        root: folder that the image paths start from.
        outcomes: tables of outcomes, one a system.
        predictions: tables of answers, one a system.
        quarantine: table of source rows that cannot be used.
        out: page to write.
        baselines: those of the systems that look at no image.
    """
    rows = read_rows(split, Row)
    answers = {(row.uid, row.system): row for path in predictions for row in read_rows(path, Prediction)}
    outcome_of = {(row.uid, row.system): row.outcome for path in outcomes for row in read_rows(path, Outcome)}
    compared = [row for row in read_rows(comparisons, Comparison) if row.subset == "macro"]
    opposed = [row for row in read_rows(agreement, Agreement) if row.opposed]

    def against_baseline(row: Comparison | Agreement) -> bool:
        return bool({row.system_a, row.system_b} & set(baselines))

    def of_systems_by_judges(row: Agreement) -> bool:
        return {row.metric_1, row.metric_2} == {"crimson", "green"} and not against_baseline(row)

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(TEMPLATE).render(
        report=report,
        systems=systems,
        split=split.parent.name,
        rows=len(rows),
        lines=headline(read_rows(metrics, MetricValue), systems),
        cell_parts=cell_parts,
        metric_label=metric_label,
        number_text=number_text,
        differences=[row for row in compared if not against_baseline(row)],
        gains=[row for row in compared if against_baseline(row)],
        conditions=differing_conditions(answers, systems),
        opposed=[row for row in opposed if of_systems_by_judges(row)],
        opposed_besides=[row for row in opposed if not of_systems_by_judges(row)],
        cases=_cases(rows, report.cases, root, systems, answers, outcome_of),
        outcomes={system: Counter(name for (_, of), name in outcome_of.items() if of == system) for system in systems},
        left_out=sorted(Counter(row.reason for row in read_rows(quarantine, QuarantinedRow)).items()),
    )
    write_text(out, page)


def _cases(
    rows: Sequence[Row],
    count: int,
    root: Path,
    systems: Sequence[str],
    answers: Mapping[Key, Prediction],
    outcome_of: Mapping[Key, str],
) -> dict[str, list[Case]]:
    """`count` cases of each task."""

    def shown(system: str, row: Row) -> ShownAnswer:
        answer = answers.get((row.uid, system))
        return shown_answer(system, row, answer.text if answer else None, outcome_of[row.uid, system])

    return {
        task: [
            Case(
                row,
                [thumbnail(open_image(root, image.path)) for image in row.images],
                [shown(system, row) for system in systems],
            )
            for row in chosen
        ]
        for task, chosen in chosen_rows(rows, count).items()
    }


if __name__ == "__main__":
    run_step(write_page)
