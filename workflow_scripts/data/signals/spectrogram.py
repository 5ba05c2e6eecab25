"""A log-mel spectrogram as an image: time to the right, frequency upwards, loud is bright."""

import numpy as np
import PIL.Image

from workflow_scripts.core.config.sources.series import SeriesSpectrogram
from workflow_scripts.data.signals.drawing import INK, MUTED, Canvas, ticks
from workflow_scripts.data.signals.mel import decibels, hz_to_mel, power_spectrogram
from workflow_scripts.data.signals.series import Series

LEFT, RIGHT, TOP, BOTTOM = 58, 14, 26, 40
"""Margins with axes, in pixels."""

STOPS = ((0, 0, 0), (24, 20, 66), (84, 28, 110), (150, 42, 100), (212, 74, 66), (245, 140, 40), (252, 208, 92),
         (255, 252, 220))  # fmt: skip
"""Colours from silence to the loudest, at equal steps; their lightness rises evenly."""

TICKS_HZ = (10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000)


def spectrogram(series: Series, how: SeriesSpectrogram) -> bytes:
    """The spectrogram of a series as PNG.

    Raises:
        BadSeries: its rate is too low for the bands, or it has none.
    """
    power = power_spectrogram(series, how.window, how.hop, how.bands, how.low, how.high, how.mel)
    level = decibels(power, how.decibels) / how.decibels + 1  # 0 to 1
    grey = PIL.Image.fromarray(np.round(level[::-1] * 255).astype(np.uint8))
    indices = np.asarray(grey.resize((how.width, how.height), PIL.Image.Resampling.BILINEAR))
    image = PIL.Image.fromarray(_colours()[indices])
    if not how.axes:
        canvas = Canvas(how.width, how.height)
        canvas.paste(image, 0, 0)
        return canvas.png()
    canvas = Canvas(how.width + LEFT + RIGHT, how.height + TOP + BOTTOM)
    canvas.paste(image, LEFT, TOP)
    _axes(canvas, series, how)
    return canvas.png()


def _axes(canvas: Canvas, series: Series, how: SeriesSpectrogram) -> None:
    seconds, hz = series.seconds or 1.0, series.hz or 1.0
    bottom = TOP + how.height
    for tick in ticks(0, seconds, 8):
        x = LEFT + tick / seconds * (how.width - 1)
        canvas.rule((x, bottom), (x, bottom + 4), MUTED)
        canvas.text((x, bottom + 7), f"{tick:g}", anchor="ma")
    high = hz / 2 if how.high is None else how.high
    first, last = hz_to_mel([how.low, high], how.mel)
    below = float(bottom + 100)
    for tick in (t for t in TICKS_HZ if how.low <= t <= high):
        y = bottom - (hz_to_mel(tick, how.mel) - first) / (last - first) * how.height
        canvas.rule((LEFT - 4, y), (LEFT, y), MUTED)
        if below - y >= 14:
            canvas.text((LEFT - 7, y), f"{tick:g}", anchor="rm")
            below = float(y)
    canvas.text((LEFT, TOP - 7), series.name, size=14, colour=INK, anchor="ls")
    canvas.text((canvas.width - RIGHT, TOP - 7), f"log-mel, {how.bands} bands, Hz", anchor="rs")
    canvas.text((canvas.width - RIGHT, canvas.height - 4), "seconds", anchor="rs")


def _colours() -> np.ndarray:
    """256 colours between the stops, (256, 3)."""
    places = np.linspace(0, len(STOPS) - 1, 256)
    channels = [np.interp(places, range(len(STOPS)), [stop[channel] for stop in STOPS]) for channel in range(3)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)
