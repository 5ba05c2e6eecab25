"""Scores of answers by judges and of texts as facts that add up: what the tasks share whose answers are judged.

Such answers are scored beforehand, in the table of `ReportScore` rows.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from workflow_scripts.core.metrics import Metric, Note, ScoredAnswer, Sums, ratio


class ScoreKey(NamedTuple):
    """What tells one column of scores from another; see `core.rows.ReportScore`."""

    metric: str
    judge: str | None = None
    stratum: str | None = None
    note: Note | None = None  # why the judge's scores are not to be relied on


Scores = Mapping[ScoreKey, Mapping[str, tuple[float | None, str]]]
"""One system's scores: key → uid → (value, status)."""
ReportScores = dict[str, dict[ScoreKey, dict[str, tuple[float | None, str]]]]
"""system → key → uid → (value, status)."""


class Bound(NamedTuple):
    """A mean in which every row without a judgement takes an end of the score's range."""

    metric: str
    value: float


def definition_of(key: ScoreKey, definitions: Mapping[str, str], module: str) -> str:
    """Whose definition a score follows.

    Raises:
        ValueError: `definitions`, those of `module`, do not name the metric.
    """
    if key.metric not in definitions:
        raise ValueError(
            f"report scores hold the metric {key.metric!r}, which {module.removeprefix('workflow_scripts.')} does not "
            "define"
        )
    return definitions[key.metric]


def in_order(key: ScoreKey) -> tuple[str, str, str]:
    """Columns by metric, judge and stratum."""
    return (key.metric, key.judge or "", key.stratum or "")


def read_share(scores: ReportScores, key: ScoreKey) -> float:
    """Share of the records of a column that have a value; 0 where there is no record."""
    values = [value for columns in scores.values() for value, _ in columns.get(key, {}).values()]
    return sum(value is not None for value in values) / len(values) if values else 0.0


def names(key: ScoreKey, *facts: str) -> list[str]:
    """Names of a column's facts; judges' names hold no spaces, so that no two columns share one."""
    judge = f" by {key.judge}" if key.judge else ""
    stratum = f" of {key.stratum}" if key.stratum else ""
    return [f"{fact} {key.metric}{judge}{stratum}" for fact in facts]


def score_metrics(
    columns: dict[str, np.ndarray],
    key: ScoreKey,
    answers: Sequence[ScoredAnswer],
    by_uid: Mapping[str, tuple[float | None, str]],
    definition: str,
    bounds: Sequence[Bound] = (),
    *,
    primary: bool = False,
) -> list[Metric]:
    """The mean of a score over the rows that have a value, and its bounds over all rows that have a record.

    A row is valid if its answer is, and if the judge, where there is one, gave its judgement.

    Args:
        columns: facts of the answers, to which those of the score are added.
        key: the column of scores.
        answers: of one system.
        by_uid: value and status of each row that has a record.
        definition: whose it is.
        bounds: ends of the score's range, for a column over all strata.
        primary: whether it heads the tables.
    """
    records = [by_uid[answer.uid] for answer in answers if answer.uid in by_uid]
    total, scored, without, value, valid = names(key, "rows", "scored", "without", "sum", "valid")
    columns[total] = np.array([answer.uid in by_uid for answer in answers], dtype=float)
    present = columns[total] == 1
    columns[scored] = _spread(present, [value is not None for value, _ in records])
    columns[without] = columns[total] - columns[scored]
    columns[value] = _spread(present, [0.0 if value is None else value for value, _ in records])
    columns[valid] = columns["valid"] * columns[scored if key.judge else total]
    of_status: dict[str, str] = {}
    for status in ("abstained", "invalid", "unreadable_script"):
        if any(other == status for _, other in records):
            (of_status[status],) = names(key, status)
            columns[of_status[status]] = _spread(present, [other == status for _, other in records])

    def caution(s: Sums) -> Note | None:
        name = of_status.get("unreadable_script")
        return key.note or ("unreadable_script" if name is not None and s[name] > 0 else None)

    def metric(name: str, finish: Callable[[Sums], np.ndarray], *, primary: bool = False) -> Metric:
        return Metric(
            name,
            finish,
            direction="higher",
            definition=definition,
            primary=primary,
            judge=key.judge,
            stratum=key.stratum,
            rows=total,
            unread=without,
            valid=valid,
            abstained=of_status.get("abstained"),
            invalid=of_status.get("invalid"),
            caution=caution,
        )

    def bounded(end: float) -> Callable[[Sums], np.ndarray]:
        return lambda s: ratio(s[value] + end * s[without], s[total])

    return [
        metric(key.metric, lambda s: ratio(s[value], s[scored]), primary=primary),
        *(metric(bound.metric, bounded(bound.value)) for bound in bounds if key.stratum is None),
    ]


def _spread(present: np.ndarray, values: Sequence[float]) -> np.ndarray:
    """The values in the rows that are present, zero in the others."""
    column = np.zeros(len(present))
    column[present] = values
    return column
