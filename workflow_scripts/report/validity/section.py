"""What the page says of judges of rubrics: how far each agrees with human scores, and whether it is relied on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.pages.texts import number_text
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.core.rubrics.rows import CalibrationPoint, ValidityMeasure
from workflow_scripts.core.rubrics.stated import NAMES as RUBRICS
from workflow_scripts.core.tables import read_rows

NAMES = {
    "kappa": "κ",
    "linear_kappa": "κ, linear weights",
    "weighted_kappa": "κ, quadratic weights",
    "bias": "judge − human",
    "raters": "raters among themselves",
}
"""Measures as the page heads them."""


@dataclass(frozen=True)
class JudgeValidity:
    """One judge on one rubric."""

    judge: str
    rubric: str
    grey: bool
    verdict: str
    cells: list[tuple[str, str, bool]]  # number, interval, and whether it decides; in the order of NAMES
    answers: int
    scored: int
    abstained: int
    invalid: int
    points: list[CalibrationPoint]


def read_validity(
    values: Iterable[MetricValue], validity: Iterable[Path], calibration: Iterable[Path]
) -> list[JudgeValidity]:
    """What the page says of the judges whose rubrics have columns, and of those that were compared with people.

    Args:
        values: metrics of the split.
        validity: tables of measures.
        calibration: tables of calibration.
    """
    used = {(value.judge, value.metric) for value in values if value.judge is not None and value.metric in RUBRICS}
    measures = [line for path in validity for line in read_rows(path, ValidityMeasure)]
    points = [point for path in calibration for point in read_rows(path, CalibrationPoint)]
    return validity_section(measures, points, sorted(used))


def validity_section(
    measures: Iterable[ValidityMeasure],
    points: Sequence[CalibrationPoint],
    unknown: Iterable[tuple[str, str]] = (),
) -> list[JudgeValidity]:
    """A line for each judge and rubric, in their order.

    Args:
        measures: of all judges.
        points: calibration of all judges.
        unknown: judge and rubric of columns without recorded human scores.
    """
    by_judge: dict[tuple[str, str], dict[str, ValidityMeasure]] = {}
    for measure in measures:
        by_judge.setdefault((measure.judge, measure.rubric), {})[measure.measure] = measure
    lines = [
        _line(judge, rubric, of_judge, [p for p in points if (p.judge, p.rubric) == (judge, rubric)])
        for (judge, rubric), of_judge in by_judge.items()
    ]
    empty = [("–", "", False)] * len(NAMES)
    lines += [
        JudgeValidity(judge, rubric, True, "no human scores", empty, 0, 0, 0, 0, [])
        for judge, rubric in unknown
        if (judge, rubric) not in by_judge
    ]
    return sorted(lines, key=lambda line: (line.judge, line.rubric))


def _line(
    judge: str, rubric: str, measures: dict[str, ValidityMeasure], points: list[CalibrationPoint]
) -> JudgeValidity:
    first = next(iter(measures.values()))
    decisive = next(measure for measure in measures.values() if measure.decisive)
    threshold = f"{NAMES[decisive.measure]} {{}} {first.at_least:g}"
    if first.valid:
        verdict = threshold.format("≥")
    elif first.scored * 2 < first.answers:
        verdict = f"a score for {first.scored} of {first.answers} answers alone"
    elif decisive.value is None:
        verdict = f"{NAMES[decisive.measure]} undefined: one score throughout"
    else:
        verdict = threshold.format("<")
    cells = [(*_number(measures.get(name)), name == decisive.measure) for name in NAMES]
    return JudgeValidity(
        judge,
        rubric,
        not first.valid,
        verdict,
        cells,
        first.answers,
        first.scored,
        first.abstained,
        first.invalid,
        points,
    )


def _number(measure: ValidityMeasure | None) -> tuple[str, str]:
    if measure is None or measure.value is None:
        return "–", ""
    limits = (measure.low, measure.high)
    interval = "" if None in limits else f"[{', '.join(number_text(limit or 0.0) for limit in limits)}]"
    return number_text(measure.value), interval
