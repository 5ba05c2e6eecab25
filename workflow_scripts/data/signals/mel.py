"""Log-mel spectrograms: power of a short-time Fourier transform in bands of equal width on a mel scale.

Frames are centred at 0, `hop`, 2 · `hop` …; before and after the series are zeros. The window is a periodic Hann
window. The triangular filter of a band rises from the centre of the band below and falls to that of the band above,
linearly in Hz. Of the scale `slaney` (M. Slaney, Auditory Toolbox, technical report 1998-010) all filters have one area
and the height 2 / (upper edge - lower edge); of `htk` (S. Young et al., The HTK Book, 5.6) all have the height 1.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import numpy.typing as npt

from workflow_scripts.data.signals.series import BadSeries, Series

Floats = npt.NDArray[np.float64]
Scale = Literal["slaney", "htk"]

LINEAR_HZ, CORNER_HZ = 200 / 3, 1000.0
"""Of Slaney's scale: Hz a mel below the corner, and the corner."""

LOG_STEP = np.log(6.4) / 27
"""Of Slaney's scale: the logarithm of the ratio of two frequencies one mel apart, above the corner."""

LEAST_POWER = 1e-10
"""Power below which all is alike, against logarithms of zero."""

DOUBLINGS = 4
"""Times that a frame's power of two may be doubled with zeros, so that narrow bands hold a frequency each."""

AT_ONCE = 2048
"""Frames that are transformed at a time."""


def hz_to_mel(hz: npt.ArrayLike, scale: Scale) -> Floats:
    """Frequencies in Hz on a mel scale."""
    frequency = np.asarray(hz, dtype=np.float64)
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + frequency / 700.0))
    above = CORNER_HZ / LINEAR_HZ + np.log(np.maximum(frequency, 1e-9) / CORNER_HZ) / LOG_STEP
    return np.where(frequency < CORNER_HZ, frequency / LINEAR_HZ, above)


def mel_to_hz(mel: npt.ArrayLike, scale: Scale) -> Floats:
    """Values of a mel scale in Hz."""
    value = np.asarray(mel, dtype=np.float64)
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (value / 2595.0) - 1.0))
    corner = CORNER_HZ / LINEAR_HZ
    return np.where(value < corner, value * LINEAR_HZ, CORNER_HZ * np.exp(LOG_STEP * (value - corner)))


def filters(hz: float, points: int, bands: int, low: float, high: float, scale: Scale) -> Floats:
    """Weights of the power of each frequency in each band, (bands, points // 2 + 1).

    Args:
        hz: values a second.
        points: of the Fourier transform.
        low, high: lower edge of the first and upper edge of the last band, in Hz.
    """
    first, last = hz_to_mel([low, high], scale).tolist()
    edges = mel_to_hz(np.linspace(first, last, bands + 2), scale)
    frequencies = np.fft.rfftfreq(points, 1 / hz)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    return weights if scale == "htk" else weights * (2 / (edges[2:] - edges[:-2]))[:, None]


@lru_cache(maxsize=16)
def transform(hz: float, frame: int, bands: int, low: float, high: float, scale: Scale) -> tuple[int, Floats]:
    """Points of the Fourier transform and the filters: the least power of two from a frame on with which no
    filter is empty.

    Raises:
        BadSeries: the bands are too narrow for any.
    """
    least = 1 << max(1, (frame - 1).bit_length())
    for points in (least << doubling for doubling in range(DOUBLINGS + 1)):
        weights = filters(hz, points, bands, low, high, scale)
        if weights.any(axis=1).all():
            return points, weights
    raise BadSeries("bad_rate", f"{bands} bands from {low:g} to {high:g} Hz are too narrow at {hz:g} Hz; take fewer")


def power_spectrogram(series: Series, window: float, hop: float, bands: int, low: float, high: float | None,
                      scale: Scale) -> Floats:  # fmt: skip
    """Power in each band and frame, (bands, frames), with frames = 1 + values // values of a hop.

    Args:
        window, hop: in seconds.
        low, high: in Hz; high is half of the rate where it is None.

    Raises:
        BadSeries: the series has no rate, or one too low for these.
    """
    if series.hz is None:
        raise BadSeries("bad_rate", f"a spectrogram needs a rate, and {series.name} has none; give `hz`")
    frame, step = round(window * series.hz), round(hop * series.hz)
    top = series.hz / 2 if high is None else high
    if top > series.hz / 2 or low >= top:
        raise BadSeries(
            "bad_rate", f"bands from {low:g} to {top:g} Hz need a rate of {2 * max(top, low):g} Hz or more; "
            f"{series.name} has {series.hz:g}"
        )  # fmt: skip
    if frame < 2 or step < 1:
        raise BadSeries("bad_rate", f"a frame of {window:g} s every {hop:g} s is none at {series.hz:g} Hz")
    points, weights = transform(series.hz, frame, bands, low, top, scale)
    taper = np.zeros(points)
    start = (points - frame) // 2
    taper[start : start + frame] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)  # Hann, periodic
    padded = np.pad(series.values, points // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, points)[::step]
    parts = []
    for first in range(0, len(frames), AT_ONCE):
        spectrum = np.fft.rfft(frames[first : first + AT_ONCE] * taper, axis=1)
        parts.append(weights @ (spectrum.real**2 + spectrum.imag**2).T)
    return np.concatenate(parts, axis=1)


def decibels(power: Floats, span: float) -> Floats:
    """Power in decibels below its greatest value, -span at least; silence is -span everywhere."""
    greatest = float(power.max())
    if greatest <= LEAST_POWER:
        return np.full_like(power, -span)
    level = 10 * np.log10(np.maximum(power, LEAST_POWER) / greatest)
    return np.maximum(level, -span)
