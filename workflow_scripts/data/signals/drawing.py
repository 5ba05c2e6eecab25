"""What drawings of signals share: a canvas with smooth lines and text, round ticks, and equal bytes each time."""

import io
import math
import unicodedata
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageDraw, ImageFont

from workflow_scripts.data.signals.series import BadSeries, Values

INK, MUTED, GRID, PAPER, TRACE = "#1b1f24", "#5c6670", "#dde1e6", "#ffffff", "#0072b2"
"""Text, labels, grid, background and curves, as the report's figures have them."""

FINER = 3
"""Lines are drawn on a grid that is so many times finer, and averaged."""

LARGEST = 24_000_000
"""Pixels of a drawing."""

PLAIN = {"µ": "u", "°": "deg ", "²": "2"}
"""What stands for signs that the font of drawings, Pillow's own, lacks."""

Point = tuple[float, float]


class Canvas:
    """An image on which lines are drawn before texts. Places are in pixels from the top left corner."""

    def __init__(self, width: int, height: int, background: str = PAPER) -> None:
        """Begin an image.

        Raises:
            BadSeries: it would be too large.
        """
        if width * height > LARGEST:
            raise BadSeries(
                "too_many_values",
                f"a drawing of {width} × {height} pixels is too large; show a part by `start`, `stop`",
            )
        self.width, self.height = width, height
        self._lines = PIL.Image.new("RGB", (width * FINER, height * FINER), background)
        self._draw = ImageDraw.Draw(self._lines)
        self._texts: list[tuple[Point, str, int, str, str]] = []

    def line(self, points: Sequence[Point], colour: str, width: float = 1.0) -> None:
        """A line through points."""
        finer = [(x * FINER, y * FINER) for x, y in points]
        self._draw.line(finer, fill=colour, width=max(1, round(width * FINER)), joint="curve")

    def rule(self, start: Point, end: Point, colour: str, width: int = 1) -> None:
        """A horizontal or vertical line on whole pixels."""
        (x, y), (right, bottom) = ((math.floor(p) * FINER, math.floor(q) * FINER) for p, q in (start, end))
        thick = width * FINER - 1
        self._draw.rectangle((x, y, max(right, x + thick), max(bottom, y + thick)), fill=colour)

    def paste(self, image: PIL.Image.Image, x: int, y: int) -> None:
        """An image whose pixels stay as they are."""
        finer = image.resize((image.width * FINER, image.height * FINER), PIL.Image.Resampling.NEAREST)
        self._lines.paste(finer, (x * FINER, y * FINER))

    def text(self, place: Point, text: str, size: int = 13, colour: str = MUTED, anchor: str = "la") -> None:
        """A text; see Pillow's anchors: l, m, r and a, m, s."""
        self._texts.append((place, drawable(text), size, colour, anchor))

    def png(self) -> bytes:
        """The image as PNG; the same bytes for the same drawing."""
        image = self._lines.reduce(FINER)
        draw = ImageDraw.Draw(image)
        for place, text, size, colour, anchor in self._texts:
            draw.text(place, text, fill=colour, font=ImageFont.load_default(size), anchor=anchor)
        stream = io.BytesIO()
        image.save(stream, "PNG", compress_level=6)
        return stream.getvalue()


def drawable(text: str) -> str:
    """A text in ASCII, which is all that the font has; other letters without their accents, or a question mark."""
    replaced = "".join(PLAIN.get(sign, sign) for sign in text)
    decomposed = unicodedata.normalize("NFKD", replaced)
    return "".join(sign if sign.isascii() else "?" for sign in decomposed if not unicodedata.combining(sign))


def curve(values: Values, x: Values, y_of: npt.NDArray[np.float64]) -> list[Point]:
    """Points of a curve; of more values than can be told apart, the least and the greatest a column.

    Args:
        values: (values,), only their number counts.
        x: place of each value, in pixels, rising.
        y_of: place of each value from the top, in pixels.
    """
    columns = np.floor(x * FINER).astype(int)
    if len(values) <= 3 * (columns[-1] - columns[0] + 1):
        return list(zip(x.tolist(), y_of.tolist(), strict=True))
    starts = np.flatnonzero(np.diff(columns, prepend=columns[0] - 1))
    low, high = np.minimum.reduceat(y_of, starts), np.maximum.reduceat(y_of, starts)
    first = y_of[starts]
    points: list[Point] = []
    for place, top, bottom, begin in zip(x[starts].tolist(), low.tolist(), high.tolist(), first.tolist(), strict=True):
        near, far = (top, bottom) if abs(begin - top) <= abs(begin - bottom) else (bottom, top)
        points += [(place, near), (place, far)]
    return points


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round numbers from `low` to `high`, at most about so many: steps of 1, 2 or 5 times a power of ten."""
    if high <= low:
        return [low]
    rough = (high - low) / max(1, most)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(place * step, 12) + 0.0 for place in range(first, math.floor(high / step + 1e-9) + 1)]
