"""Agreement of a judge's scores with human ones: Cohen's kappa, plain and weighted, bias, calibration, intervals.

Cohen 1960 and 1968: one minus the mean disagreement of the pairs of scores, by the mean disagreement that the two sides
would have by chance. Disagreement is 1 for two unequal scores, their distance on the scale (linear), or its square; so
scores need no categories, and a value that a scale leaves out (Bond's 1) is a distance like any other. With several
raters each score of a rater makes a pair with the judge's; intervals draw answers, with all their raters.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

import numpy as np

from workflow_scripts.core.config.judges import AgreementMeasure
from workflow_scripts.score.statistics import interval

Distance = Callable[[np.ndarray, np.ndarray], np.ndarray]

DISTANCES: Mapping[AgreementMeasure, Distance] = {
    "kappa": lambda one, other: (np.abs(one - other) > 1e-9).astype(float),
    "linear_kappa": lambda one, other: np.abs(one - other),
    "weighted_kappa": lambda one, other: (one - other) ** 2,
}
"""How far apart two scores are, by measure."""

LEAST_TENTHS = 12
"""Distinct scores of a judge above which calibration takes tenths of the answers instead of scores."""


def kappa(one: np.ndarray, other: np.ndarray, measure: AgreementMeasure) -> float:
    """Cohen's kappa of paired scores, [pairs] each; NaN where both sides have one and the same score throughout."""
    if not len(one):
        return float("nan")
    distance = DISTANCES[measure]
    values, first = np.unique(one, return_inverse=True)
    others, second = np.unique(other, return_inverse=True)
    by_chance = distance(values[:, None], others[None, :])
    shares = np.bincount(first) / len(one), np.bincount(second) / len(other)
    expected = float(shares[0] @ by_chance @ shares[1])
    return float("nan") if expected == 0 else 1.0 - float(distance(one, other).mean()) / expected


def pairs_with_judge(scores: Sequence[float], human: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """The judge's score and a rater's, of each answer and rater: two of [pairs]."""
    return (
        np.array([score for score, of_answer in zip(scores, human, strict=True) for _ in of_answer], dtype=float),
        np.array([value for of_answer in human for value in of_answer], dtype=float),
    )


def pairs_of_raters(human: Sequence[Sequence[float]]) -> tuple[np.ndarray, np.ndarray]:
    """Each two raters of an answer, either way round, since no rater comes first: two of [pairs]."""
    both = [pair for of_answer in human for pair in combinations(of_answer, 2)]
    one, other = np.array(both, dtype=float).reshape(-1, 2).T
    return np.concatenate([one, other]), np.concatenate([other, one])


def drawn_interval(
    statistic: Callable[[np.ndarray], float], answers: int, resamples: int, seed: int, confidence: float
) -> tuple[float, float | None, float | None]:
    """A statistic of chosen answers, and its bootstrap interval over answers; none of one answer.

    Args:
        statistic: of the places of answers, which may repeat.
        answers: how many there are.
        resamples: draws.
        seed: of the draws.
        confidence: of the interval.
    """
    point = statistic(np.arange(answers))
    if answers < 2 or np.isnan(point):
        return point, None, None
    draws = np.random.default_rng(seed).integers(0, answers, size=(resamples, answers))
    return point, *interval(point, np.array([statistic(drawn) for drawn in draws]), confidence)


def calibration(scores: Sequence[float], human: Sequence[float]) -> list[tuple[float, np.ndarray]]:
    """Groups of answers by the judge's score: the score, and the places of its answers.

    Where the judge gives more scores than `LEAST_TENTHS`, the answers are ranked by it and cut into ten groups.
    """
    given = np.array(scores, dtype=float)
    values = np.unique(given)
    if len(values) <= LEAST_TENTHS:
        return [(float(value), np.flatnonzero(given == value)) for value in values]
    parts = np.array_split(np.argsort(given, kind="stable"), 10)
    return [(float(given[part].mean()), part) for part in parts if len(part)]
