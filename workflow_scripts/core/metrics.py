"""What a metric is here: per-row facts that add up, and a function of their sums."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

Sums = dict[str, np.ndarray]
"""Sums of facts by name; leading axes are resamples, a last axis where the fact has one (classes, coordinates)."""

Reading = Literal["strict", "lenient"]

Note = Literal["few_rows", "single_class", "mixed_units", "unreadable_script", "below_validity", "no_validity"]
"""Why a number is to be read with care."""

NOTES: dict[Note, str] = {
    "few_rows": "fewer than 20 rows: the number says little",
    "single_class": "one class alone among the references: a constant answer is perfect",
    "mixed_units": "some answers are percentages and others are not: their mean has no unit",
    "unreadable_script": "the metric cannot read the script of some references: those rows have no value",
    "below_validity": "the judge agrees too little with human scores: its scores head, rank and decide nothing",
    "no_validity": "no human scores say how far the judge can be relied on: its scores head, rank and decide nothing",
}
UNRELIABLE: tuple[Note, ...] = ("below_validity", "no_validity")
"""Notes of a judge whose columns are grey and never primary."""

ROW_SCORE = "row_score"
"""Name of the row fact that holds how right a row is by its task's own metric, from 0 to 1."""


@dataclass(frozen=True)
class Metric:
    """One metric as a function of sums. `rows`, `unread` and `valid` name the facts that count these.

    Write its name as a literal where it is made, so that a search finds it. What varies beside the name is a field:
    the reader behind it, the judge, and the stratum of rows, boxes or coordinates that it is about. A definition of
    FLARE's is equal to that evaluation to the last row, faults included; what differs is `flarebench (after …)`.
    """

    name: str
    value: Callable[[Sums], np.ndarray]
    direction: Literal["higher", "lower"]  # which is better
    definition: str  # whose: FLARE 2026, FLARE 2025, IIT Delhi, the judge's, the text metric's, or flarebench
    primary: bool = False
    reading: Reading | None = None
    judge: str | None = None
    stratum: str | None = None
    rows: str = "rows"
    unread: str = "unread"
    valid: str = "valid"
    abstained: str | None = None  # facts that count the judge's abstentions and its invalid replies
    invalid: str | None = None
    interval: bool = True  # false for shares of distinct texts, which resampling changes by itself
    caution: Callable[[Sums], Note | None] | None = None  # of the sums over one subset, or over all rows

    @property
    def key(self) -> tuple[str, str | None, str | None, str | None]:
        """What tells it from every other metric of its task: name, reading, judge, stratum."""
        return (self.name, self.reading, self.judge, self.stratum)


def of_reading(metrics: Iterable[Metric], reading: Reading) -> list[Metric]:
    """The same metrics on what one reader reads; the strict reader's alone may be primary."""
    unread = "unread" if reading == "strict" else "unread_lenient"
    return [
        replace(metric, reading=reading, unread=unread, primary=metric.primary and reading == "strict")
        for metric in metrics
    ]


@dataclass(frozen=True)
class ScoredAnswer:
    """One answer of a system beside its reference, as the readers of its task read them."""

    uid: str
    subset: str
    case_id: str
    outcome: str
    strict: object
    lenient: object
    reference: object
    text: str | None  # the final answer: without thoughts; None where none was given
    reference_raw: str = "null"  # JSON of the source's value, as FLARE's evaluation compares it
    percent: bool = False  # the question asks for a percentage
    samples: object = None  # what each of several answers is read as; None where a system answers once


@dataclass(frozen=True)
class Facts:
    """Per-row facts of one system on one task, [rows] or [rows × k] each, and the metrics over their sums."""

    columns: dict[str, np.ndarray]
    metrics: list[Metric]
    row_scores: np.ndarray | None = None
    """How right each row is by the task's own metric, from 0 to 1, [rows]; NaN where that is not known."""

    def packed(self) -> np.ndarray:
        """All columns side by side: [rows × width]."""
        return np.column_stack([column.astype(float) for column in self.columns.values()])

    def unpacked(self, sums: np.ndarray) -> Sums:
        """Packed sums [… × width] by name."""
        named, start = {}, 0
        for name, column in self.columns.items():
            width = 1 if column.ndim == 1 else column.shape[1]
            part = sums[..., start : start + width]
            named[name] = part[..., 0] if column.ndim == 1 else part
            start += width
        return named


def ratio(part: np.ndarray, whole: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """`part / whole`, and `empty` where `whole` is zero."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), np.asarray(whole, dtype=float))
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, empty), where=whole != 0))


def count_facts(answers: Iterable[ScoredAnswer]) -> dict[str, np.ndarray]:
    """The facts that every task has: rows, valid ones, missing ones, and those that each reader could not read."""
    answers = list(answers)
    return {
        "rows": np.ones(len(answers)),
        "valid": np.array([answer.outcome == "valid" for answer in answers], dtype=float),
        "missing": np.array([answer.text is None for answer in answers], dtype=float),
        "unread": np.array([answer.strict is None for answer in answers], dtype=float),
        "unread_lenient": np.array([answer.lenient is None for answer in answers], dtype=float),
    }


def wrong_format() -> Metric:
    """The IIT Delhi study's count of wrongly formatted outputs: rows that the strict reader cannot read."""
    return Metric("wrong_format", lambda s: s["unread"], direction="lower", definition="IIT Delhi", reading="strict")
