"""What a metric is here: per-row facts that add up, and a function of their sums."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

Sums = dict[str, np.ndarray]
"""Sums of facts by name; leading axes are resamples, a last axis where the fact has one (classes, coordinates)."""


@dataclass(frozen=True)
class Measure:
    """One metric as a function of sums. `rows`, `unread` and `valid` name the facts that count these."""

    name: str
    finish: Callable[[Sums], np.ndarray]
    better: str  # higher or lower
    rule: str  # whose: 2026, 2025, study, judge, text or own
    primary: bool = False
    rows: str = "rows"
    unread: str = "unread"
    valid: str = "valid"
    interval: bool = True  # false for shares of distinct texts, which resampling changes by itself


@dataclass(frozen=True)
class Answer:
    """One row of OUTCOMES with its JSON read."""

    dataset: str
    case_id: str
    outcome: str
    strict: object
    lenient: object
    gold: object
    text: str | None


@dataclass(frozen=True)
class Facts:
    """Per-row facts of one system on one task, [rows] or [rows × k] each, and the metrics over their sums."""

    columns: dict[str, np.ndarray]
    measures: list[Measure]

    def packed(self) -> np.ndarray:
        """All columns side by side: [rows × width]."""
        return np.column_stack([column.astype(float) for column in self.columns.values()])

    def unpacked(self, sums: np.ndarray) -> Sums:
        """Packed sums [… × width] by name."""
        found, start = {}, 0
        for name, column in self.columns.items():
            width = 1 if column.ndim == 1 else column.shape[1]
            part = sums[..., start : start + width]
            found[name] = part[..., 0] if column.ndim == 1 else part
            start += width
        return found


def ratio(part: np.ndarray, whole: np.ndarray, empty: float = np.nan) -> np.ndarray:
    """`part / whole`, and `empty` where `whole` is zero."""
    part, whole = np.broadcast_arrays(np.asarray(part, dtype=float), np.asarray(whole, dtype=float))
    return np.divide(part, whole, out=np.full(whole.shape, empty), where=whole != 0)


def count_facts(answers: Iterable[Answer]) -> dict[str, np.ndarray]:
    """The facts that every task has: rows, valid ones, and those that each reader could not read."""
    answers = list(answers)
    return {
        "rows": np.ones(len(answers)),
        "valid": np.array([answer.outcome == "valid" for answer in answers], dtype=float),
        "unread": np.array([answer.strict is None for answer in answers], dtype=float),
        "unread_lenient": np.array([answer.lenient is None for answer in answers], dtype=float),
    }


def wrong_format() -> Measure:
    """The study's count of wrongly formatted outputs: rows that the strict reader cannot read."""
    return Measure("wrong_format", lambda s: s["unread"], "lower", "study")
