"""Gaps of a metric between the values of a group: simultaneous intervals, and tests that permute labels over cases.

The largest of several differences is large by chance alone, so neither an interval of that pair as if it had been
chosen beforehand, nor one of bootstrap values of the range, keeps its rate. Here all differences have one factor: the
interval of each is its value ± factor × spread, where the factor is the quantile of the largest |deviation| / spread
of all of them (single-step max-T, Westfall and Young 1993). All intervals then hold together, whichever pair is looked
at, and what they say of the range follows from them.

The factor is the larger of two, each of which fails where the other holds:

* deviations of bootstrap resamples of cases from the value. They know that values may differ in their spread, but in a
  small group they see too little of it: rare classes are not there, and a perfect group does not vary.
* differences after permuting labels over cases. They have the spread of equal groups, small ones too, but know nothing
  of groups that differ in other ways than by the metric, such as their shares of classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from workflow_scripts.score.statistics import BLOCK, p_value

UNDEFINED = 0.05
"""Share of resamples or permutations that may leave a metric undefined; beyond it there is no interval."""


@dataclass(frozen=True)
class Estimates:
    """A metric of several values of a group, or differences of it."""

    point: np.ndarray  # [values]
    draws: np.ndarray  # in each bootstrap resample of cases: [resamples × values]
    permuted: np.ndarray  # after each permutation of labels: [permutations × values]

    def __sub__(self, other: "Estimates") -> "Estimates":
        return Estimates(self.point - other.point, self.draws - other.draws, self.permuted - other.permuted)

    def pairs(self) -> "Estimates":
        """Each two values: the second less the first, in the order of `numpy.triu_indices`."""
        first, second = np.triu_indices(len(self.point), 1)
        return Estimates(
            self.point[second] - self.point[first],
            self.draws[:, second] - self.draws[:, first],
            self.permuted[:, second] - self.permuted[:, first],
        )


@dataclass(frozen=True)
class Gaps:
    """Differences with intervals that hold together, and p values that are corrected for their number."""

    low: np.ndarray
    high: np.ndarray
    p: np.ndarray


def simultaneous(differences: Estimates, confidence: float) -> Gaps | None:
    """Intervals and p values of several differences; None where too many resamples leave the metric undefined.

    The p value of a difference is the share of permutations whose largest |difference| / spread, the spread being that
    of the permutations, is as large as its own.
    """
    draws, permuted = _defined(differences.draws), _defined(differences.permuted)
    if draws is None or permuted is None or not np.isfinite(differences.point).all():
        return None
    of_null = permuted.std(axis=0)
    spread = np.maximum(draws.std(axis=0), of_null)
    largest = [_scaled(draws - differences.point, spread).max(axis=1), _scaled(permuted, spread).max(axis=1)]
    width = max(float(np.quantile(values, confidence)) for values in largest) * spread
    under_null = _scaled(permuted, of_null).max(axis=1)
    observed = _scaled(differences.point[None], of_null)[0]
    p = np.array([p_value(value, under_null) for value in observed])
    return Gaps(differences.point - width, differences.point + width, p)


def _defined(values: np.ndarray) -> np.ndarray | None:
    """The resamples in which everything is defined; None where those are too few, or something is infinite."""
    defined = values[~np.isnan(values).any(axis=1)]
    return defined if len(defined) >= (1 - UNDEFINED) * len(values) and np.isfinite(defined).all() else None


def _scaled(deviations: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """|Deviations| in units of the spread; what never varies deviates by nothing."""
    return np.divide(np.abs(deviations), spread, out=np.zeros_like(deviations), where=spread > 0)


@dataclass(frozen=True)
class Range:
    """The largest value less the smallest, in the places `first` and `second`."""

    first: int
    second: int
    gap: float
    low: float | None
    high: float | None
    p: float | None


def range_of(estimates: Estimates, confidence: float) -> Range:
    """Largest less smallest of two values or more, with the interval and the p value that follow from all pairs.

    Where every pair's interval holds its difference, the true range lies between the largest lower end and the largest
    upper one; it is never below zero. So the interval begins above zero just where some pair's interval excludes it.
    """
    first, second = int(np.nanargmax(estimates.point)), int(np.nanargmin(estimates.point))
    if first == second:  # all values are equal
        second = int(first == 0)
    gap = float(estimates.point[first] - estimates.point[second])
    gaps = simultaneous(estimates.pairs(), confidence)
    if gaps is None:
        return Range(first, second, gap, None, None, None)
    low, high = max(0.0, gaps.low.max(), (-gaps.high).max()), max(gaps.high.max(), (-gaps.low).max())
    return Range(first, second, gap, float(low), float(high), float(gaps.p.min()))


def permutations(
    labels: np.ndarray, strata: np.ndarray, times: int, seed: int, numbers: int = 1
) -> Iterator[np.ndarray]:
    """Labels of units after random permutations within each stratum, in blocks: [permutations × units].

    Args:
        labels: by unit.
        strata: by unit; negative: a stratum of its own, whose label stays.
        times: how many permutations.
        seed: of the random numbers.
        numbers: computed from each permutation; they bound a block as the units do.
    """
    rng = np.random.default_rng(seed)
    places = [np.flatnonzero(strata == stratum) for stratum in np.unique(strata[strata >= 0])]
    step = max(1, BLOCK // max(1, len(labels), numbers))
    for start in range(0, times, step):
        block = np.tile(labels, (min(step, times - start), 1))
        for units in places:
            block[:, units] = rng.permuted(block[:, units], axis=1)
        yield block
