"""Pearson's and Spearman's correlation of similarities, as in STS (Cer et al. 2017, SemEval task 1) and ClinicalSTS.

An answer that cannot be read counts as the mean of those that can: it carries no information, and the correlation
falls as if it were a guess. Without such answers both are SciPy's. Pearson's follows from sums over rows; Spearman's is
Pearson's of ranks (ties share their mean), which are those within a subset, and over all rows in the pooled line; it
has no interval, since ranks are those of the whole. A constant has no correlation.
"""

from collections.abc import Callable, Sequence

import numpy as np

from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    Reading,
    ScoredAnswer,
    Sums,
    count_facts,
    of_reading,
    ratio,
    wrong_format,
)
from workflow_scripts.tasks.number_metrics import worst_errors

LEAST_VARIANCE = 1e-12
"""A mean square around the mean below this, of values or of ranks, is that of a constant."""


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Moments of references and answers, and of their ranks, of each row. A row's score falls with its error, to 0 at
    the worst that a constant answer in the references' range has."""
    reference = np.array([answer.reference for answer in answers], dtype=float)
    subsets = np.array([answer.subset for answer in answers])
    columns = count_facts(answers)
    metrics: list[Metric] = []
    scores = np.zeros(len(answers))
    readings: tuple[tuple[Reading, list[object]], ...] = (
        ("strict", [answer.strict for answer in answers]),
        ("lenient", [answer.lenient for answer in answers]),
    )
    for reading, values in readings:
        read = np.array([value is not None for value in values], dtype=bool)
        given = np.array([0.0 if value is None else value for value in values], dtype=float)
        columns |= _moments(f"value {reading}", read, given, reference)
        columns |= _moments(f"rank {reading}", read, _ranks(given, read), _ranks(reference))
        within_given, within_reference = np.zeros(len(answers)), np.zeros(len(answers))
        for name in np.unique(subsets):
            here = subsets == name
            within_given[here] = _ranks(given[here], read[here])
            within_reference[here] = _ranks(reference[here])
        columns |= _moments(f"rank_within {reading}", read, within_given, within_reference)
        columns[f"read {reading}"] = read.astype(float)
        metrics += of_reading(_metrics(reading, len(answers)), reading)
        if reading == "strict" and len(answers):
            error = np.abs(given - reference) / worst_errors(reference, subsets)
            scores = np.where(read, np.maximum(0.0, 1.0 - error), 0.0)
    return Facts(columns, [*metrics, wrong_format()], scores)


def _ranks(values: np.ndarray, read: np.ndarray | None = None) -> np.ndarray:
    """Ranks from 1, equal values sharing their mean; 0 for those that are not read."""
    ranks = np.zeros(len(values))
    known = np.ones(len(values), dtype=bool) if read is None else read
    _, codes, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks[known] = (ends - (counts - 1) / 2)[codes] if known.any() else 0.0
    return ranks


def _moments(name: str, read: np.ndarray, given: np.ndarray, reference: np.ndarray) -> dict[str, np.ndarray]:
    """What a correlation is a function of; around centres, where squares cancel less."""
    x = np.where(read, given - (given[read].mean() if read.any() else 0.0), 0.0)
    y = reference - (reference.mean() if len(reference) else 0.0)
    return {
        f"{name} x": x,
        f"{name} xx": x**2,
        f"{name} y": y,
        f"{name} yy": y**2,
        f"{name} xy": x * y,
        f"{name} y_read": np.where(read, y, 0.0),
    }


def _correlation(name: str, read: str) -> Callable[[Sums], np.ndarray]:
    def value(s: Sums) -> np.ndarray:
        x, xx, y, yy, xy, y_read = (s[f"{name} {part}"] for part in ("x", "xx", "y", "yy", "xy", "y_read"))
        together = xy - ratio(x * y_read, s[read], empty=0.0)
        own = xx - ratio(x**2, s[read], empty=0.0)
        references = yy - ratio(y**2, s["rows"], empty=0.0)
        enough = (own > LEAST_VARIANCE * s["rows"]) & (references > LEAST_VARIANCE * s["rows"])
        return ratio(together, np.where(enough, np.sqrt(np.maximum(own * references, 0.0)), 0.0))

    return value


def _metrics(reading: Reading, rows: int) -> list[Metric]:
    read = f"read {reading}"
    pooled, within = _correlation(f"rank {reading}", read), _correlation(f"rank_within {reading}", read)

    def spearman(s: Sums) -> np.ndarray:
        return np.where(s["rows"] == rows, pooled(s), within(s))

    return [
        Metric(
            "pearson",
            _correlation(f"value {reading}", read),
            direction="higher",
            definition="STS",
            primary=True,
        ),
        Metric("spearman", spearman, direction="higher", definition="STS", interval=False),
    ]
