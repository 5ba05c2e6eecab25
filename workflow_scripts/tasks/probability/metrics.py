"""Errors of estimated probabilities against the intervals that evidence supports, in percentage points and log-odds.

After the comparison of a model with 553 practitioners (Rodman et al. 2023, doi:10.1001/jamanetworkopen.2023.47075) on
five cases of Morgan et al. 2021 (doi:10.1001/jamainternmed.2021.0269): a model answers each question 100 times at
temperature 1, and the median and the spread of its estimates are compared with the reference.

An answer that cannot be read counts as the worst estimate would. Probabilities are kept `LEAST` per cent away from 0
and 100 before their log-odds are taken, so that an estimate of 0 % has a finite error.
"""

from collections.abc import Callable, Sequence

import numpy as np

from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    ScoredAnswer,
    Sums,
    count_facts,
    of_reading,
    ratio,
    wrong_format,
)

LEAST = 0.01
"""Per cent: 1 in 10,000."""

AFTER_RODMAN = "flarebench (after Rodman 2023)"


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Errors of each row by each reader, and of its draws where a system answers several times.

    A row's score falls from 1 within the interval to 0 at the worst estimate.
    """
    ends = np.array([_ends(answer.reference) for answer in answers], dtype=float).reshape(-1, 2)
    columns = count_facts(answers)
    metrics: list[Metric] = []
    columns |= _errors("strict", [answer.strict for answer in answers], ends)
    metrics += of_reading(_metrics("strict"), "strict")
    columns |= _errors("lenient", [answer.lenient for answer in answers], ends)
    metrics += of_reading(_metrics("lenient"), "lenient")
    if any(isinstance(answer.samples, list) for answer in answers):
        columns |= _of_draws([answer.samples for answer in answers], ends)
        metrics += _draw_metrics()
    scores = 1 - columns["error strict"] / _worst(ends[:, 0], ends[:, 1])
    return Facts(columns, [*metrics, wrong_format()], scores)


def _ends(reference: object) -> tuple[float, float]:
    """Both ends of a reference interval, in per cent."""
    assert isinstance(reference, dict)
    return reference["low"], reference["high"]


def _errors(reading: str, values: Sequence[object], ends: np.ndarray) -> dict[str, np.ndarray]:
    """Errors of estimates in per cent; where there is none, those of the worst estimate."""
    low, high = ends[:, 0], ends[:, 1]
    read = np.array([value is not None for value in values], dtype=bool)
    estimate = np.array([50.0 if value is None else value for value in values], dtype=float)
    nearest, middle = np.clip(estimate, low, high), (low + high) / 2
    odds = np.abs(log_odds(estimate) - log_odds(nearest))
    return {
        f"read {reading}": read.astype(float),
        f"error {reading}": np.where(read, np.abs(estimate - nearest), _worst(low, high)),
        f"middle {reading}": np.where(read, np.abs(estimate - middle), np.maximum(middle, 100 - middle)),
        f"odds {reading}": np.where(
            read, odds, np.maximum(log_odds(low) - log_odds(0.0), log_odds(100.0) - log_odds(high))
        ),
        f"within {reading}": (read & (estimate == nearest)).astype(float),
        f"over {reading}": (read & (estimate > high)).astype(float),
    }


def _worst(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The largest distance from an interval, in percentage points."""
    return np.asarray(np.maximum(np.maximum(low, 100 - high), 1e-9))


def log_odds(percent: np.ndarray | float) -> np.ndarray:
    """Natural logarithm of the odds of a probability in per cent."""
    share = np.clip(np.asarray(percent, dtype=float), LEAST, 100 - LEAST) / 100
    return np.asarray(np.log(share / (1 - share)))


def _metrics(reading: str) -> list[Metric]:
    def mean(fact: str) -> Callable[[Sums], np.ndarray]:
        return lambda sums: ratio(sums[f"{fact} {reading}"], sums["rows"])

    return [
        Metric("interval_error", mean("error"), direction="lower", definition="flarebench", primary=True),
        Metric("midpoint_error", mean("middle"), direction="lower", definition=AFTER_RODMAN),
        Metric("log_odds_error", mean("odds"), direction="lower", definition="flarebench"),
        Metric("within_interval", mean("within"), direction="higher", definition="flarebench"),
        Metric("overestimated", mean("over"), direction="lower", definition="flarebench"),
    ]


def _of_draws(samples: Sequence[object], ends: np.ndarray) -> dict[str, np.ndarray]:
    """Median and spread of the estimates that were drawn for each row; a row without one adds nothing."""
    drawn = [
        np.array([value for value in (of_row if isinstance(of_row, list) else []) if value is not None], dtype=float)
        for of_row in samples
    ]
    there = np.array([len(values) > 0 for values in drawn])
    filled = [values if len(values) else np.zeros(1) for values in drawn]
    median = np.array([np.median(values) for values in filled])
    spread = np.array([np.subtract(*np.percentile(values, [75, 25])) for values in filled])
    inside = [np.mean((values >= low) & (values <= high)) for values, (low, high) in zip(filled, ends, strict=True)]
    nearest = np.clip(median, ends[:, 0], ends[:, 1])
    columns = {
        "median": median,
        "median error": np.abs(median - nearest),
        "median middle": np.abs(median - ends.mean(axis=1)),
        "spread": spread,
        "range": np.array([np.ptp(values) for values in filled]),
        "least": np.array([values.min() for values in filled]),
        "greatest": np.array([values.max() for values in filled]),
        "draws within": np.array(inside, dtype=float),
    }
    columns = {name: np.where(there, values, 0.0) for name, values in columns.items()}
    return columns | {"drawn": there.astype(float), "not drawn": (~there).astype(float)}


def _draw_metrics() -> list[Metric]:
    """Over the rows of which a draw could be read."""
    return [
        metric("median_estimate_error", "median error", "lower"),
        metric("median_midpoint_error", "median middle", "lower"),
        metric("estimate_iqr", "spread", "lower"),
        metric("estimate_range", "range", "lower"),
        metric("draws_within_interval", "draws within", "higher"),
    ]


def metric(name: str, fact: str, direction: str) -> Metric:
    """A mean over the rows of which a draw could be read."""
    return Metric(
        name,
        lambda sums: ratio(sums[fact], sums["drawn"]),
        direction="higher" if direction == "higher" else "lower",
        definition=AFTER_RODMAN,
        unread="not drawn",
    )
