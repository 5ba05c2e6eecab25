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
import pyarrow.compute as pc
from PIL import Image

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.files import write_text
from workflow_scripts.core.images import open_image
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import (
    Agreement,
    Comparison,
    MetricValue,
    Outcome,
    Prediction,
    QuarantinedRow,
    Row,
    RowFact,
)
from workflow_scripts.core.tables import read_rows, read_table
from workflow_scripts.core.tasks import tasks
from workflow_scripts.report.tables import (
    JUDGED,
    cell_parts,
    headline,
    judged_share,
    metric_label,
    notes_of,
    number_text,
)

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
    verdict: str  # right, partly or wrong by the task's own metric; empty where that is not known
    thought: bool = False  # a thought was cut before it was read


@dataclass(frozen=True)
class JudgedScore:
    """A judge's score of one system, and what it would be had every row without a judgement scored worst or best."""

    value: MetricValue
    lowest: MetricValue | None
    highest: MetricValue | None


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


def shown_answer(outcome: Outcome, row_score: float | None) -> ShownAnswer:
    """What a case shows of one system.

    Args:
        outcome: of the row and the system.
        row_score: how right the row is by its task's metric, from 0 to 1; None where that is not known.
    """
    if outcome.text is None:
        verdict = "wrong"
    elif row_score is None:
        verdict = ""
    else:
        verdict = "right" if row_score >= 1 else "partly" if row_score > 0 else "wrong"
    return ShownAnswer(outcome.system, outcome.text or "", outcome.outcome, verdict, outcome.thought)


def judged_scores(values: Iterable[MetricValue], systems: Sequence[str]) -> list[JudgedScore]:
    """CRIMSON and GREEN over all subsets, by judge, each with the systems in their order."""
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
        for metric in JUDGED
        for system in systems
        if (judge, metric, system) in judged
    ]


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
    facts: Path,
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
        facts: table of what each row adds to the sums that metrics are made of.
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
    outcome_of = {(row.uid, row.system): row for path in outcomes for row in read_rows(path, Outcome)}
    values = read_rows(metrics, MetricValue)
    lines = headline(values, systems)
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
        lines=lines,
        notes=notes_of(lines),
        judged=judged_scores(values, systems),
        cell_parts=cell_parts,
        judged_share=judged_share,
        metric_label=metric_label,
        number_text=number_text,
        differences=[row for row in compared if not against_baseline(row)],
        gains=[row for row in compared if against_baseline(row)],
        conditions=differing_conditions(answers, systems),
        opposed=[row for row in opposed if of_systems_by_judges(row)],
        opposed_besides=[row for row in opposed if not of_systems_by_judges(row)],
        cases=_cases(rows, report.cases, root, systems, outcome_of, row_scores_of(facts)),
        outcomes={
            system: Counter(row.outcome for row in outcome_of.values() if row.system == system) for system in systems
        },
        thoughts=Counter(row.system for row in outcome_of.values() if row.thought),
        left_out=sorted(Counter(row.reason for row in read_rows(quarantine, QuarantinedRow)).items()),
    )
    write_text(out, page)


def row_scores_of(facts: Path) -> dict[Key, float]:
    """How right each row of each system is, where that is known."""
    table = read_table(facts, RowFact)
    scores = table.filter(pc.equal(table["fact"], ROW_SCORE))
    return {
        (uid, system): value
        for uid, system, value in zip(*(scores[name].to_pylist() for name in ("uid", "system", "value")), strict=True)
    }


def _cases(
    rows: Sequence[Row],
    count: int,
    root: Path,
    systems: Sequence[str],
    outcome_of: Mapping[Key, Outcome],
    row_scores: Mapping[Key, float],
) -> dict[str, list[Case]]:
    """`count` cases of each task."""

    def shown(key: Key) -> ShownAnswer:
        return shown_answer(outcome_of[key], row_scores.get(key))

    return {
        task: [
            Case(
                row,
                [thumbnail(open_image(root, image.path)) for image in row.images],
                [shown((row.uid, system)) for system in systems],
            )
            for row in chosen
        ]
        for task, chosen in chosen_rows(rows, count).items()
    }


if __name__ == "__main__":
    run_step(write_page)
