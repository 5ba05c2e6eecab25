"""Intervals and tests over sums: a metric is a function of column sums of per-row facts, rows come in clusters.

Rows of one case are not independent, so a resample draws whole cases. Because every metric here depends on sums
only, a resample is a row of draw counts times the matrix of the clusters' sums, and all metrics of all systems share
the same draws: intervals are paired across systems.
"""

import hashlib
from collections.abc import Iterable, Iterator
from functools import reduce

import numpy as np
from scipy import sparse
from scipy.stats import norm

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


def swapped(first: np.ndarray, second: np.ndarray, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Column sums of two systems after their clusters changed sides at random: two of [resamples × columns]."""
    count = len(first)
    blocks = []
    for size, rng in _blocks(resamples, count, seed):
        stays = rng.integers(0, 2, size=(size, count)).astype(float)
        blocks.append(stays @ (first - second))
    stayed = np.concatenate(blocks)
    return second.sum(axis=0) + stayed, first.sum(axis=0) - stayed


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
    bias = norm.ppf(np.clip(below, 1 / len(defined), 1 - 1 / len(defined)))
    tail = norm.ppf((1 + confidence) / 2)
    low, high = np.quantile(defined, norm.cdf([2 * bias - tail, 2 * bias + tail]))
    return float(low), float(high)


def p_value(observed: float, under_null: np.ndarray) -> float:
    """Two-sided p of a randomisation test: (1 + as extreme) / (1 + resamples).

    Phipson and Smyth 2010: the observed arrangement is one of the possible ones, so p is never zero.
    """
    extreme = np.abs(under_null) >= abs(observed) - 1e-12
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
