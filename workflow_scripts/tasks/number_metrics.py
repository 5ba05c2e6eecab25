"""Counting and regression: mean absolute error by four rules, and the study's figures.

The primary `mae` is bounded. An answer that cannot be read counts as the worst constant answer within the data set's
reference range (its gold values and zero) would, and no readable answer counts as more. So one absurd number moves
the mean no further than a missing one. `mae_official` is FLARE 2026's: infinite as soon as one answer is no float.
"""

import math

import numpy as np

from workflow_scripts.core.metrics import Answer, Facts, Measure, Sums, count_facts, ratio, wrong_format

WITHIN = 5.0
"""The study counts a value as right within ±5, in the unit of the answer."""


def number_facts(answers: list[Answer]) -> Facts:
    """Absolute and squared errors of each row, in the unit of the answer, by each rule."""
    gold = np.array([answer.gold for answer in answers], dtype=float)
    worst = worst_errors(gold, np.array([answer.dataset for answer in answers]))
    # Sums of squares cancel less around a centre; R² does not depend on it.
    centre = gold.mean() if len(gold) else 0.0
    columns = count_facts(answers)
    columns["unread_float"] = np.zeros(len(answers))
    measures: list[Measure] = []
    for suffix, values in (
        ("", [answer.strict for answer in answers]),
        ("_lenient", [answer.lenient for answer in answers]),
        ("_float", [as_float(answer.text) for answer in answers]),
    ):
        read = np.array([value is not None for value in values])
        said = np.array([0.0 if value is None else value for value in values], dtype=float)
        error = np.where(read, np.abs(said - gold), 0.0)
        columns["read" + suffix] = read.astype(float)
        columns["error" + suffix] = error
        with np.errstate(over="ignore"):
            columns["square" + suffix] = error**2
        if suffix == "_float":
            columns["unread_float"] = 1.0 - read
            measures += _official_measures()
        else:
            columns["bounded" + suffix] = np.where(read, np.minimum(error, worst), worst)
            columns["within" + suffix] = (read & (error <= WITHIN)).astype(float)
            columns["gold" + suffix] = np.where(read, gold - centre, 0.0)
            columns["gold_square" + suffix] = np.where(read, (gold - centre) ** 2, 0.0)
            measures += _reading_measures(suffix)
    return Facts(columns, [*measures, wrong_format()])


def worst_errors(gold: np.ndarray, datasets: np.ndarray) -> np.ndarray:
    """For each row the error of the worst constant answer between the data set's smallest and largest gold value.

    Zero belongs to the range, so that a data set of one value has a width; where all gold values are zero, it is 1.
    """
    worst = np.zeros(len(gold))
    for name in np.unique(datasets):
        here = datasets == name
        low, high = min(0.0, gold[here].min()), max(0.0, gold[here].max())
        worst[here] = np.maximum(gold[here] - low, high - gold[here]) if high > low else 1.0
    return worst


def as_float(text: str | None) -> float | None:
    """What FLARE's scorer reads: Python's `float` of the answer; None where it fails or is not finite.

    A percent sign is dropped, because gold values carry one.
    """
    if text is None or len(text) > 1000:
        return None
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _official_measures() -> list[Measure]:
    """FLARE 2026's error, infinite where a value is no float, and FLARE 2025's, which drops what it cannot find."""

    def official(s: Sums) -> np.ndarray:
        return np.where(s["unread_float"] > 0, np.inf, ratio(s["error_float"], s["rows"]))

    def dropping(s: Sums) -> np.ndarray:
        return ratio(s["error_lenient"], s["read_lenient"])

    def rmse(s: Sums) -> np.ndarray:
        return np.sqrt(ratio(s["square_lenient"], s["read_lenient"]))

    return [
        Measure("mae_official", official, "lower", "2026", unread="unread_float"),
        Measure("mae_2025", dropping, "lower", "2025", unread="unread_lenient"),
        Measure("rmse_2025", rmse, "lower", "2025", unread="unread_lenient"),
    ]


def _reading_measures(suffix: str) -> list[Measure]:
    read, square, unread = "read" + suffix, "square" + suffix, "unread" + suffix

    def r2(s: Sums) -> np.ndarray:
        spread = s["gold_square" + suffix] - ratio(s["gold" + suffix] ** 2, s[read], empty=0.0)
        return 1.0 - ratio(s[square], np.where(spread > 1e-12, spread, 0.0))

    return [
        Measure(
            "mae" + suffix,
            lambda s: ratio(s["bounded" + suffix], s["rows"]),
            "lower",
            "own",
            primary=not suffix,
            unread=unread,
        ),
        Measure(
            "within_5" + suffix, lambda s: ratio(s["within" + suffix], s["rows"]), "higher", "study", unread=unread
        ),
        Measure("mse" + suffix, lambda s: ratio(s[square], s[read]), "lower", "study", unread=unread),
        Measure("rmse" + suffix, lambda s: np.sqrt(ratio(s[square], s[read])), "lower", "study", unread=unread),
        Measure("r2" + suffix, r2, "higher", "study", unread=unread),
    ]
