"""Intervals and tests over sums: a metric is a function of column sums of per-row facts, rows come in clusters.

Rows of one case are not independent, so a resample draws whole cases. Because every metric here depends on sums
only, a resample is a row of draw counts times the matrix of the clusters' sums, and all metrics of all systems share
the same draws: intervals are paired across systems.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import reduce
from typing import TypeAlias

import numpy as np
from scipy import sparse
from scipy.special import ndtr, ndtri  # scipy.stats takes a second to import

BLOCK = 4_000_000
"""Draws held in memory at a time."""


def seed_for(seed: int, *names: str) -> int:
    """A seed of its own for each task and subset, the same for every system."""
    return int.from_bytes(hashlib.sha256("\0".join([str(seed), *names]).encode()).digest()[:8], "big")


def sums_by_cluster(facts: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """Column sums of `facts` [rows × columns] within each cluster; `clusters` are codes from 0 without gaps."""
    count = int(clusters.max()) + 1 if len(clusters) else 0
    indicator = sparse.csr_array(
        (np.ones(len(clusters)), (clusters, np.arange(len(clusters)))), shape=(count, len(clusters))
    )
    return indicator @ facts


def sum_of(arrays: Iterable[np.ndarray]) -> np.ndarray:
    """The sum of one array or more of one shape, added in their order."""
    return reduce(np.add, arrays)


def resampled(sums: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Column sums of `resamples` bootstrap draws of the clusters: [resamples × columns]."""
    count = len(sums)
    blocks = []
    for size, rng in _blocks(resamples, count, seed):
        drawn = rng.integers(0, count, size=(size, count))
        drawn += np.arange(size)[:, None] * count
        weights = np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count)
        blocks.append(weights.astype(float) @ sums)
    return np.concatenate(blocks)


Statistic: TypeAlias = Callable[[np.ndarray], np.ndarray]
"""A function of sums: [… × columns] to […]."""


def influences_of(value: Statistic, sums: np.ndarray, totals: np.ndarray, clusters: int) -> np.ndarray:
    """How much each cluster moves a statistic, [clusters]: by counting it twice, scaled.

    Of a mean it is (x − mean) / (clusters − 1), exactly what leaving the cluster out takes away. A statistic that is
    undefined without some cluster is defined with that one twice.

    Args:
        value: the statistic.
        sums: by cluster: [clusters × columns].
        totals: sums over everything that the statistic is of, which may be more than these clusters: [columns].
        clusters: how many clusters `totals` are of.
    """
    moved = value(totals + sums) - value(totals[None])
    return np.asarray(moved * (clusters + 1) / max(1, clusters - 1))


def exchanges_of(value: Statistic, sums: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """How much a statistic of two systems changes where one cluster's answers are exchanged, [clusters].

    Args:
        value: the statistic, of the sums of the first system and, beside them, as many of the second.
        sums: by cluster: [clusters × columns].
        totals: sums over everything that the statistic is of: [columns].
    """
    first, second = np.split(sums, 2, axis=1)
    return np.asarray(value(totals + np.concatenate([second - first, first - second], axis=1)) - value(totals[None]))


def halves(values: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    """Sums of `values` [clusters × columns] over random halves of the clusters: [resamples × columns]."""
    blocks = []
    for size, rng in _blocks(resamples, len(values), seed):
        blocks.append(rng.integers(0, 2, size=(size, len(values))).astype(float) @ values)
    return np.concatenate(blocks)


def _blocks(resamples: int, count: int, seed: int) -> Iterator[tuple[int, np.random.Generator]]:
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // max(1, count))
    for start in range(0, resamples, step):
        yield min(step, resamples - start), rng


def interval(point: float, values: np.ndarray, confidence: float) -> tuple[float | None, float | None]:
    """Bias-corrected percentile interval (Efron 1981) of bootstrap values around a point estimate.

    The correction matters for balanced accuracy, whose resamples lose rare classes. A resample in which the metric
    is undefined (no abnormal reference was drawn) is left out; where that is more than a twentieth of them, or a
    value is infinite, there is no interval: (None, None).
    """
    defined = values[~np.isnan(values)]
    if len(defined) < 0.95 * len(values) or not len(defined) or not np.isfinite(defined).all():
        return None, None
    below = (np.sum(defined < point) + 0.5 * np.sum(defined == point)) / len(defined)
    bias = ndtri(np.clip(below, 1 / len(defined), 1 - 1 / len(defined)))
    tail = ndtri((1 + confidence) / 2)
    low, high = np.quantile(defined, ndtr([2 * bias - tail, 2 * bias + tail]))
    return float(low), float(high)


def paired_p(observed: float, exchanged: np.ndarray, turned: np.ndarray) -> float:
    """Two-sided p of a paired difference: the larger of two, each of which fails where the other holds.

    * The exchange of answers, case by case: the difference plus what each exchange changes by itself. Where both
      systems have the same denominators (accuracy, mean errors), it is the exact randomisation test. A ratio also has
      each system's own denominator, such as its number of boxes, and a single hit on the side of fewer boxes may be
      larger than every sum of exchanges: p would be as small as 2 / 2^clusters.
    * The influences of the cases on the difference, with random signs (the wild bootstrap of Wu 1986 and Liu 1988):
      that one hit is then one influence of either sign. But it sees no variance where a system has no hit at all.

    Args:
        observed: the difference.
        exchanged: the difference after exchanges: [resamples].
        turned: sums of influences with random signs: [resamples].
    """
    return max(p_value(observed, exchanged), p_value(observed, turned))


def p_value(observed: float, under_null: np.ndarray) -> float:
    """Two-sided p of a randomisation test: (1 + as extreme) / (1 + resamples).

    Phipson and Smyth 2010: the observed arrangement is one of the possible ones, so p is never zero.
    """
    extreme = np.abs(under_null) >= abs(observed) * (1 - 1e-9) - 1e-12  # sums in another order
    return float((1 + extreme.sum()) / (1 + len(under_null)))


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down adjustment: p values that control the family-wise error."""
    order = np.argsort(p_values, kind="stable")
    adjusted = np.empty(len(p_values))
    largest = 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted.tolist()
