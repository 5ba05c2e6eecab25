"""Plots of the page as inline SVG; their colours are the page's, so that they follow light and dark."""

import math
from collections.abc import Iterator

from markupsafe import Markup

from workflow_scripts.data.auditing.distributions import Histogram, Series
from workflow_scripts.data.auditing.leaks import ORDER

WIDTH, HEIGHT, FOOT, EDGE = 240, 96, 16, 3
"""Size of a histogram, height of its axis' labels, and space at each side, in its own units."""


def folder_class(folder: str) -> str:
    """The CSS class that gives a split folder its colour."""
    return f"folder-{ORDER.index(folder) if folder in ORDER else len(ORDER)}"


def number_text(value: float) -> str:
    """A number in few characters: three digits matter, more in whole numbers."""
    if value == 0:
        return "0"
    if abs(value) >= 1e7 or abs(value) < 1e-3:
        return f"{value:.3g}"
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def described(histogram: Histogram) -> str:
    """A histogram in words: median, range and count of each folder."""
    parts = [
        f"{series.folder}: median {number_text(series.median)}, from {number_text(series.least)} to "
        f"{number_text(series.greatest)}, {series.count:,} values"
        for series in histogram.series
    ]
    unit = f" in {histogram.unit}" if histogram.unit else ""
    return f"{histogram.quantity}{unit}. {'; '.join(parts)}"


def histogram_svg(histogram: Histogram) -> Markup | None:
    """A histogram: the first folder filled, the others as outlines, each in shares of its own values.

    None where all values are one, which words say better.
    """
    if min(s.least for s in histogram.series) == max(s.greatest for s in histogram.series):
        return None
    places = [_place(edge, histogram) for edge in histogram.edges]
    most = max(max(series.shares) for series in histogram.series)
    paths = Markup("").join(
        Markup('<path class="{}" d="{}"/>').format(
            f"{'filled' if i == 0 else 'outlined'} {folder_class(series.folder)}", _steps(series, places, most)
        )
        for i, series in enumerate(histogram.series)
    )
    ticks = Markup("").join(
        Markup('<path class="tick" d="M{0:.1f} {1}v4"/><text x="{0:.1f}" y="{2}" text-anchor="{3}">{4}</text>').format(
            x, HEIGHT - FOOT, HEIGHT - 2, "start" if x < 24 else "end" if x > WIDTH - 24 else "middle", text
        )
        for x, text in _ticks(histogram)
    )
    axis = Markup('<path class="axis" d="M0 {0}H{1}"/>').format(HEIGHT - FOOT, WIDTH)
    return Markup('<svg class="histogram" viewBox="0 0 {} {}" role="img" aria-label="{}">{}{}{}</svg>').format(
        WIDTH, HEIGHT, described(histogram), paths, axis, ticks
    )


def _scaled(value: float, histogram: Histogram) -> float:
    # Edges of whole numbers lie half below the least: from -0.5 on the logarithm is there.
    return math.log1p(max(value, -0.9)) if histogram.logarithmic else value


def _place(value: float, histogram: Histogram) -> float:
    """How far right a value lies."""
    first, last = (_scaled(histogram.edges[i], histogram) for i in (0, -1))
    return EDGE + (_scaled(value, histogram) - first) / (last - first) * (WIDTH - 2 * EDGE)


def _steps(series: Series, places: list[float], most: float) -> str:
    bottom = HEIGHT - FOOT
    parts = [f"M{places[0]:.1f} {bottom}"]
    for share, end in zip(series.shares, places[1:], strict=True):
        parts.append(f"V{bottom - share / most * (bottom - 4):.1f}H{end:.1f}")
    return "".join(parts) + f"V{bottom}"


def _ticks(histogram: Histogram) -> Iterator[tuple[float, str]]:
    """Place and label of round values, so far from each other that labels do not touch."""
    free = 0.0
    for value in _round_values(histogram.edges[0], histogram.edges[-1], histogram.logarithmic):
        place, text = _place(value, histogram), number_text(value)
        half = 3.2 * len(text)
        start = place if place < 24 else place - 2 * half if place > WIDTH - 24 else place - half
        if start >= free:
            yield place, text
            free = (place + 2 * half if place < 24 else place if place > WIDTH - 24 else place + half) + 8


def _round_values(least: float, greatest: float, logarithmic: bool) -> list[float]:
    if logarithmic:
        decades = [10.0**power for power in range(-3, 16)]
        return [value for value in (0.0, *decades) if least <= value <= greatest]
    if greatest - least < 1e-290:
        return [least]
    step = 10.0 ** math.floor(math.log10((greatest - least) / 2))
    step = next((step * m for m in (1, 2, 5, 10) if (greatest - least) / (step * m) <= 4.5), step * 10)
    start = math.ceil(least / step)
    return [i * step for i in range(start, math.floor(greatest / step) + 1)]
