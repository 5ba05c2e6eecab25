"""How far several answers to a row agree, by task and system: self-consistency (Wang et al. 2023, arXiv:2203.11171)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from workflow_scripts.core.rows import Outcome, Row
from workflow_scripts.report.cases.payload import CaseData


@dataclass(frozen=True)
class SampledAnswers:
    """The rows of one task to which a system gave several answers. Shares are of a row's answers."""

    task: str
    system: str
    rows: int
    answers: tuple[int, int]  # to a row: the fewest, the most
    agreement: float  # read as the answer that counts; the mean over rows
    quartiles: tuple[float, float]  # of that share, over rows
    right: float | None  # its mean over rows that are right by the task's metric
    others: float | None  # and over the other scored rows
    unanimous: float  # the share of rows all of whose answers are read alike
    unread: float  # the share of all answers that cannot be read


def sampled_answers(data: CaseData, rows: Sequence[Row]) -> list[SampledAnswers]:
    """One line a task and system with samples, tasks in the rows' order; none where no system drew any."""
    lines = []
    for task in dict.fromkeys(row.task for row in rows):
        of_task = [row for row in rows if row.task == task]
        for system in data.systems:
            outcomes = [data.outcome(row, system) for row in of_task]
            if several := [outcome for outcome in outcomes if outcome.samples is not None]:
                lines.append(_line(data, task, system, several))
    return lines


def _line(data: CaseData, task: str, system: str, outcomes: Sequence[Outcome]) -> SampledAnswers:
    shares = np.array([outcome.consistency or 0.0 for outcome in outcomes])
    levels = np.array([data.scores.level(outcome) for outcome in outcomes])
    values = [json.loads(outcome.samples or "[]") for outcome in outcomes]
    counts = [len(of_row) for of_row in values]
    low, high = np.quantile(shares, (0.25, 0.75))
    scored = levels != "unscored"
    return SampledAnswers(
        task=task,
        system=system,
        rows=len(outcomes),
        answers=(min(counts), max(counts)),
        agreement=float(shares.mean()),
        quartiles=(float(low), float(high)),
        right=_mean(shares[levels == "right"]),
        others=_mean(shares[scored & (levels != "right")]),
        unanimous=float((shares == 1).mean()),
        unread=sum(value is None for of_row in values for value in of_row) / sum(counts),
    )


def _mean(shares: np.ndarray) -> float | None:
    return float(shares.mean()) if len(shares) else None
