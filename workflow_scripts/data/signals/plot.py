"""Series as curves: with plain axes, one below the other, or on the grid of ECG paper."""

import math
import re
from collections.abc import Sequence

import numpy as np

from workflow_scripts.core.config.sources.series import SeriesPlot
from workflow_scripts.data.signals.drawing import GRID, INK, TRACE, Canvas, curve, ticks
from workflow_scripts.data.signals.series import BadSeries, Series

LEFT, RIGHT, TOP, BOTTOM = 64, 16, 24, 26
"""Margins of a plain plot, in pixels: values at the left, the name above, times below the last."""

SPEED, GAIN = 25.0, 10.0
"""Of ECG paper: millimetres a second and a millivolt."""

SMALL, LARGE, ECG_PAPER, ECG_INK = "#f7dcdc", "#eaa9a9", "#fffafa", "#1b1f24"
"""Lines every millimetre and every five, paper and trace."""

ABOVE, BELOW, LABEL = 11, 5, 5
"""Millimetres that a trace has at least above and below its median, and that its name has above them."""

MARGIN = 10
"""Millimetres before the traces, with the mark of a millivolt."""

MILLIVOLTS = {"V": 1000.0, "mV": 1.0, "µV": 0.001}

LEAD = re.compile(r"(?<![A-Za-z0-9])(III|II|I|aVR|aVL|aVF|V[1-6])(?![A-Za-z0-9])", re.IGNORECASE)
"""The name of a standard lead in the name of a series."""

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
QUARTERS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
"""Leads of a row of the layout 3x4, a quarter of the time each."""
RHYTHM = "II"
"""The lead that is shown in full below them."""


def plot(series: Sequence[Series], how: SeriesPlot) -> bytes:
    """All series of a row as one PNG.

    Raises:
        BadSeries: they cannot be shown so.
    """
    if how.paper == "plain":
        return _plain(series, how)
    if how.layout == "rows":
        return _paper(
            series, how, [[(lead_of(one.name) or one.name, one.values)] for one in map(in_millivolts, series)]
        )
    return _paper(series, how, _quarters([in_millivolts(one) for one in series]))


def lead_of(name: str) -> str | None:
    """The standard lead that a name says: `Lead II` is II; None where it says none."""
    match = LEAD.search(name)
    return None if match is None else next(lead for lead in LEADS if lead.casefold() == match[1].casefold())


def in_millivolts(series: Series) -> Series:
    """A series of voltages in millivolts.

    Raises:
        BadSeries: it has another unit, or no rate.
    """
    if series.unit not in MILLIVOLTS:
        raise BadSeries(
            "unknown_unit", f"ECG paper shows millivolts, and the unit of {series.name} is {series.unit}; "
            "set `paper: plain`, or the unit"
        )  # fmt: skip
    if series.hz is None:
        raise BadSeries("bad_rate", f"ECG paper shows seconds, and {series.name} has no rate; give `hz`")
    return Series(series.name, "mV", series.hz, series.values * MILLIVOLTS[series.unit])


def _plain(series: Sequence[Series], how: SeriesPlot) -> bytes:
    height = how.height + TOP
    canvas = Canvas(how.width, height * len(series) + BOTTOM)
    longest = max(_extent(one) for one in series)
    timed = all(one.hz is not None for one in series)
    left, right = LEFT, how.width - RIGHT
    for place, one in enumerate(series):
        top = place * height + TOP
        low, high = float(one.values.min()), float(one.values.max())
        space = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        low, high = low - space, high + space
        bottom = top + how.height - 8
        for tick in ticks(low, high, 6):
            y = bottom - (tick - low) / (high - low) * (bottom - top)
            canvas.rule((left, y), (right, y), GRID)
            canvas.text((left - 6, y), f"{tick:g}", anchor="rm")
        for tick in ticks(0, longest, 8):
            x = left + tick / longest * (right - left)
            canvas.rule((x, top), (x, bottom), GRID)
            if place == len(series) - 1:
                canvas.text((x, bottom + 6), f"{tick:g}", anchor="ma")
        times = np.arange(len(one.values)) / (one.hz if timed and one.hz else 1.0)
        x_of = left + times / longest * (right - left)
        y_of = bottom - (one.values - low) / (high - low) * (bottom - top)
        points = curve(one.values, x_of, y_of)
        canvas.line(points if len(points) > 1 else points * 2, TRACE, 1.4)
        unit = f" ({one.unit})" if one.unit != "1" else ""
        canvas.text((left, top - 6), f"{one.name}{unit}", size=14, colour=INK, anchor="ls")
    canvas.text((right, canvas.height - 4), "seconds" if timed else "number of the value", anchor="rs")
    return canvas.png()


def _extent(series: Series) -> float:
    """Where the last value of a series stands, in seconds or by its number; above 0."""
    last = max(1, len(series.values) - 1)
    return last / series.hz if series.hz is not None else float(last)


def _quarters(series: Sequence[Series]) -> list[list[tuple[str, np.ndarray]]]:
    """The rows of the layout 3x4.

    Raises:
        BadSeries: the series are not the twelve leads, or of several lengths.
    """
    by_lead = {lead_of(one.name): one for one in series}
    if missing := [lead for lead in LEADS if lead not in by_lead]:
        raise BadSeries(
            "missing_series", f"the layout 3x4 shows twelve leads, and {', '.join(missing)} are not among them"
        )
    rhythm = by_lead[RHYTHM]
    if len({(len(one.values), one.hz) for one in series}) > 1:
        raise BadSeries("bad_rate", "the leads are of several lengths or rates")
    quarter = len(rhythm.values) // 4
    rows = [
        [(lead, by_lead[lead].values[place * quarter : (place + 1) * quarter]) for place, lead in enumerate(leads)]
        for leads in QUARTERS
    ]
    return [*rows, [(RHYTHM, rhythm.values)]]


def _paper(series: Sequence[Series], how: SeriesPlot, rows: Sequence[Sequence[tuple[str, np.ndarray]]]) -> bytes:
    """Rows of traces in millivolts, in each one after the other, all of one rate in a row."""
    pixels = how.pixels_a_millimetre
    rates = [one.hz or 1.0 for one in series]
    by_row = [rates[min(place, len(rates) - 1)] for place in range(len(rows))]
    spans = [[_span(values) for _, values in row] for row in rows]
    heights = [(max(up for up, _ in of), max(down for _, down in of)) for of in spans]
    seconds = max(sum(len(values) for _, values in row) / hz for row, hz in zip(rows, by_row, strict=True))
    width = _large(MARGIN + seconds * SPEED + 5)
    height = _large(sum(LABEL + up + down for up, down in heights) + 8)
    canvas = Canvas(width * pixels + 1, height * pixels + 1, ECG_PAPER)
    for colour, every in ((SMALL, 1), (LARGE, 5)):
        for millimetre in range(0, width + 1, every):
            canvas.rule((millimetre * pixels, 0), (millimetre * pixels, canvas.height), colour)
        for millimetre in range(0, height + 1, every):
            canvas.rule((0, millimetre * pixels), (canvas.width, millimetre * pixels), colour)
    middle = 0.0
    for row, hz, (up, down) in zip(rows, by_row, heights, strict=True):
        middle += LABEL + up
        _mark(canvas, middle, pixels)
        start = float(MARGIN)
        for name, values in row:
            x_of = (start + np.arange(len(values)) / hz * SPEED) * pixels
            y_of = (middle - (values - np.median(values)) * GAIN) * pixels
            points = curve(values, x_of, y_of)
            canvas.line(points if len(points) > 1 else points * 2, ECG_INK, 1.2)
            canvas.text(((start + 1) * pixels, (middle - up - 1) * pixels), name, 15, ECG_INK, "ls")
            if start > MARGIN:  # where one lead ends and the next begins
                canvas.rule((start * pixels, (middle - 4) * pixels), (start * pixels, (middle + 4) * pixels), ECG_INK)
            start += len(values) / hz * SPEED
        middle += down
    canvas.text((canvas.width - 8, canvas.height - 8), "25 mm/s   10 mm/mV", 13, ECG_INK, "rs")
    return canvas.png()


def _span(values: np.ndarray) -> tuple[int, int]:
    """Millimetres above and below the median that a trace needs."""
    median = float(np.median(values))
    up, down = (float(values.max()) - median) * GAIN, (median - float(values.min())) * GAIN
    return max(ABOVE, math.ceil(up) + 1), max(BELOW, math.ceil(down) + 1)


def _mark(canvas: Canvas, middle: float, pixels: int) -> None:
    """The mark of a millivolt before a row: 10 mm high, 5 mm wide."""
    x, y, top = 2 * pixels, middle * pixels, (middle - GAIN) * pixels
    steps = [
        (x, y),
        (x + pixels, y),
        (x + pixels, top),
        (x + 5 * pixels, top),
        (x + 5 * pixels, y),
        (x + 6 * pixels, y),
    ]
    canvas.line(steps, ECG_INK, 1.0)


def _large(millimetres: float) -> int:
    """Millimetres up to the next line of the large grid."""
    return math.ceil(millimetres / 5) * 5
