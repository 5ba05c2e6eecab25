"""Counting and regression: mean absolute error by four definitions, and the study's figures.

The primary `mae` is bounded. An answer that cannot be read counts as the worst constant answer within the subset's
reference range (its reference values and zero) would, and no readable answer counts as more. So one absurd number
moves the mean no further than a missing one. `mae_official` is FLARE 2026's to the last row: infinite as soon as one
answer or source value is not a float for Python (`21.67%`), without a value where one is NaN or infinite (the
evaluation stops there), and over the rows that were predicted.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    Note,
    Reading,
    ScoredAnswer,
    Sums,
    count_facts,
    of_reading,
    ratio,
    wrong_format,
)

LONGEST = 100_000
"""Characters; a longer answer is not a float."""
WITHIN = 5.0
"""The study counts a value as right within ±5, in the unit of the answer."""


def number_facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Absolute and squared errors of each row, in the unit of the answer, by each reader and by Python's `float`.

    A row's score is 1 within ±5, as the strict reader reads it.
    """
    reference = np.array([answer.reference for answer in answers], dtype=float)
    worst = worst_errors(reference, np.array([answer.subset for answer in answers]))
    # Sums of squares cancel less around a centre; R² does not depend on it.
    centre = reference.mean() if len(reference) else 0.0
    columns = count_facts(answers)
    metrics: list[Metric] = []
    readings: tuple[tuple[Reading, list[object]], ...] = (
        ("strict", [answer.strict for answer in answers]),
        ("lenient", [answer.lenient for answer in answers]),
    )
    for reading, values in readings:
        read, error, square = _errors(values, reference)
        columns |= {
            f"read {reading}": read.astype(float),
            f"error {reading}": error,
            f"square {reading}": square,
            f"bounded {reading}": np.where(read, np.minimum(error, worst), worst),
            f"within {reading}": (read & (error <= WITHIN)).astype(float),
            f"reference {reading}": np.where(read, reference - centre, 0.0),
            f"reference_square {reading}": np.where(read, (reference - centre) ** 2, 0.0),
        }
        metrics += of_reading(_metrics(reading), reading)
    columns |= _official_facts(answers)
    columns["percent"] = np.array([answer.percent for answer in answers], dtype=float)
    return Facts(columns, [*metrics, *_published_metrics(), wrong_format()], columns["within strict"])


def _official_facts(answers: Sequence[ScoredAnswer]) -> dict[str, np.ndarray]:
    """Each row's error between Python's floats of answer and source; which rows are none, or stop the evaluation."""
    facts = {name: np.zeros(len(answers)) for name in ("error official", "not_float official", "stops official")}
    for row, answer in enumerate(answers):
        if answer.text is None:
            continue
        predicted, reference = as_float(answer.text), as_float(json.loads(answer.reference_raw))
        if predicted is None or reference is None:
            facts["not_float official"][row] = 1
        elif not math.isfinite(predicted) or not math.isfinite(reference):
            facts["stops official"][row] = 1
        else:
            facts["error official"][row] = abs(predicted - reference)
    missing = np.array([answer.text is None for answer in answers], dtype=float)
    return facts | {"unread_official": missing + facts["not_float official"] + facts["stops official"]}


def _errors(values: Sequence[object], reference: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which values are there, and their absolute and squared errors; zero where they are not."""
    read = np.array([value is not None for value in values], dtype=bool)
    predicted = np.array([0.0 if value is None else value for value in values], dtype=float)
    error = np.where(read, np.abs(predicted - reference), 0.0)
    with np.errstate(over="ignore"):
        return read, error, error**2


def worst_errors(reference: np.ndarray, subsets: np.ndarray) -> np.ndarray:
    """For each row the error of the worst constant answer between the subset's smallest and largest reference value.

    Zero belongs to the range, so that a subset of one value has a width; where all values are zero, it is 1.
    """
    worst = np.zeros(len(reference))
    for name in np.unique(subsets):
        here = subsets == name
        low, high = min(0.0, reference[here].min()), max(0.0, reference[here].max())
        worst[here] = np.maximum(reference[here] - low, high - reference[here]) if high > low else 1.0
    return worst


def as_float(value: Any) -> float | None:
    """What FLARE 2026 reads of an answer or of a source's value: Python's `float`, NaN too; None where it fails."""
    if isinstance(value, str) and len(value) > LONGEST:
        return None
    try:
        return float(value)
    except (ValueError, TypeError, OverflowError):
        return None


def mixed_units(s: Sums) -> Note | None:
    """The note on a mean over percentages and other numbers."""
    return "mixed_units" if 0 < s["percent"] < s["rows"] else None


def _published_metrics() -> list[Metric]:
    """FLARE 2026's error, infinite where a value is no float, and one after FLARE 2025, which drops what is unread."""

    def official(s: Sums) -> np.ndarray:
        mean = ratio(s["error official"], s["rows"] - s["missing"])
        return np.where(s["not_float official"] > 0, np.inf, np.where(s["stops official"] > 0, np.nan, mean))

    def dropping(s: Sums) -> np.ndarray:
        return ratio(s["error lenient"], s["read lenient"])

    def rmse(s: Sums) -> np.ndarray:
        return np.asarray(np.sqrt(ratio(s["square lenient"], s["read lenient"])))

    metrics = [
        Metric("mae_official", official, direction="lower", definition="FLARE 2026", unread="unread_official"),
        Metric(
            "mae_2025",
            dropping,
            direction="lower",
            definition="flarebench (after FLARE 2025)",
            reading="lenient",
            unread="unread_lenient",
        ),
        Metric(
            "rmse_2025",
            rmse,
            direction="lower",
            definition="flarebench (after FLARE 2025)",
            reading="lenient",
            unread="unread_lenient",
        ),
    ]
    return [replace(metric, caution=mixed_units) for metric in metrics]


def _metrics(reading: Reading) -> list[Metric]:
    read, square = f"read {reading}", f"square {reading}"

    def r2(s: Sums) -> np.ndarray:
        spread = s[f"reference_square {reading}"] - ratio(s[f"reference {reading}"] ** 2, s[read], empty=0.0)
        return 1.0 - ratio(s[square], np.where(spread > 1e-12, spread, 0.0))

    metrics = [
        Metric(
            "mae",
            lambda s: ratio(s[f"bounded {reading}"], s["rows"]),
            direction="lower",
            definition="flarebench",
            primary=True,
        ),
        Metric(
            "within_5", lambda s: ratio(s[f"within {reading}"], s["rows"]), direction="higher", definition="IIT Delhi"
        ),
        Metric("mse", lambda s: ratio(s[square], s[read]), direction="lower", definition="IIT Delhi"),
        Metric("rmse", lambda s: np.sqrt(ratio(s[square], s[read])), direction="lower", definition="IIT Delhi"),
        Metric("r2", r2, direction="higher", definition="IIT Delhi"),
    ]
    return [replace(metric, caution=mixed_units) for metric in metrics]
