"""Decimation: one of `factor` values is left, after a low pass without delay, or as they stand."""

from functools import lru_cache

import numpy as np

from workflow_scripts.data.signals.series import Values

TAPS = 20
"""Taps of the low pass a step of decimation, as `scipy.signal.decimate(ftype="fir")` has them: 20 × factor + 1."""


def factor_for(count: int, points: int) -> int:
    """The least factor with which at most `points` of `count` values are left."""
    return max(1, -(-count // points))


def decimated(values: Values, factor: int, low_pass: str) -> Values:
    """`ceil(len(values) / factor)` values.

    Args:
        values: (values,).
        factor: 1 leaves them as they are.
        low_pass: `fir`: a symmetric low pass of 20 × factor + 1 taps under a Hamming window, whose 6 dB point is half
            of the new rate, without delay. Beyond its ends the series is taken to go on as the straight line from the
            first to the last value. `none`: values are left out as they stand, and what is faster than half of the
            new rate shows as something slower.
    """
    if factor == 1:
        return values
    if low_pass == "none":
        return values[::factor]
    from scipy.signal import resample_poly  # takes a second

    filtered: Values = resample_poly(values, 1, factor, window=_low_pass(factor), padtype="line")
    return filtered


@lru_cache(maxsize=64)
def _low_pass(factor: int) -> np.ndarray:
    from scipy.signal import firwin

    taps: np.ndarray = firwin(TAPS * factor + 1, 1 / factor, window="hamming")
    return taps
