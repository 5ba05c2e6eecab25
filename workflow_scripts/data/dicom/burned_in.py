"""Text in the pixels: what a header says of it, and a test that looks for lines of characters.

Nothing here reads text. Characters that a machine writes into an image are of one brightness, of about one height, and
stand side by side on a line; anatomy, markers of one or two letters and scales are not. The test misses handwriting,
text of varying brightness, and text across bright anatomy.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from scipy import ndimage

LEAST_CHARACTERS = 5
"""Characters of a line; `L`, `R`, `AP` and `PORT` are markers of a radiograph."""

HEIGHTS = (5, 64)
"""Pixels of a character's height."""

CONTRAST = 60
"""Grey levels by which a character is brighter than what it stands on."""

SAME_LEVEL = 12
"""Grey levels by which the brightest pixels of a line's characters differ at most."""

STROKE = 15
"""Pixels that a stroke is narrower than: what is wider is no character."""

Grey = npt.NDArray[np.uint8]


class Line(NamedTuple):
    """A line of what looks like characters, in pixels; the right and the lower edge are excluded."""

    left: int
    top: int
    right: int
    bottom: int
    characters: int


class Region(NamedTuple):
    """A region of an ultrasound image that shows the body (PS3.3 C.8.5.5), edges included."""

    left: int
    top: int
    right: int
    bottom: int


def declared(dataset: Dataset, modality: str, capture: bool) -> str | None:
    """Why a header lets text be expected in the pixels, as the end of a sentence; None where it does not."""
    said = str(dataset.get("BurnedInAnnotation") or "").strip().upper()
    if said == "YES":
        return "BurnedInAnnotation says so"
    if said == "NO":
        return None
    if modality in ("US", "IVUS"):
        return "it is an ultrasound image, whose BurnedInAnnotation does not say NO"
    return "it is a capture of a screen or a document, whose BurnedInAnnotation does not say NO" if capture else None


def regions_of(dataset: Dataset) -> list[Region]:
    """The regions of an ultrasound image; empty where it names none, or one that is none."""
    regions = []
    for item in dataset.get("SequenceOfUltrasoundRegions") or []:
        corners = [item.get(f"RegionLocation{name}") for name in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        if not all(isinstance(corner, int) for corner in corners):
            return []
        regions.append(Region(*corners))
    return regions


def text_lines(pixels: npt.NDArray[np.uint8]) -> list[Line]:
    """Lines of bright or dark characters in an image (rows, columns) or (rows, columns, 3)."""
    grey = pixels if pixels.ndim == 2 else pixels.max(axis=2)
    dark = 255 - (pixels if pixels.ndim == 2 else pixels.min(axis=2))
    return _lines(grey) + _lines(dark)


def _lines(grey: Grey) -> list[Line]:
    """Lines of characters that are brighter than what they stand on."""
    if min(grey.shape) < STROKE:
        return []
    raised = grey.astype(np.int16) - ndimage.grey_opening(grey, size=(STROKE, STROKE))
    labels, count = ndimage.label(raised > CONTRAST, structure=np.ones((3, 3)))
    if not count:
        return []
    brightest = ndimage.maximum(grey, labels, np.arange(1, count + 1))
    boxes = []
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels)):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        if HEIGHTS[0] <= height <= HEIGHTS[1] and width <= 2 * height:
            boxes.append((columns.start, rows.start, columns.stop, rows.stop, int(brightest[number])))
    return _joined(sorted(boxes))


def _joined(boxes: list[tuple[int, int, int, int, int]]) -> list[Line]:
    """Boxes of characters (left, top, right, bottom, brightness), from the left, put together as lines."""
    ends: list[list[tuple[int, int, int, int, int]]] = []  # of lines that may go on, by their last character
    lines = []
    for box in boxes:
        left, top, _, bottom, level = box
        height = bottom - top
        ends = [line for line in ends if left - line[-1][2] <= 2 * HEIGHTS[1]]
        fitting = [line for line in ends if _follows(line[-1], left, top, bottom, height, level)]
        if fitting:
            nearest = max(fitting, key=lambda line: line[-1][2])
            nearest.append(box)
        else:
            ends.append([box])
            lines.append(ends[-1])
    return [
        Line(line[0][0], min(b[1] for b in line), max(b[2] for b in line), max(b[3] for b in line), len(line))
        for line in lines
        if len(line) >= LEAST_CHARACTERS
    ]


def _follows(last: tuple[int, int, int, int, int], left: int, top: int, bottom: int, height: int, level: int) -> bool:
    """Whether a box stands beside the last character of a line, on it, and is like it."""
    _, last_top, last_right, last_bottom, last_level = last
    last_height = last_bottom - last_top
    taller = max(height, last_height)
    overlap = min(bottom, last_bottom) - max(top, last_top)
    return (
        -2 <= left - last_right <= 1.5 * taller
        and overlap >= 0.6 * min(height, last_height)
        and taller <= 1.8 * min(height, last_height)
        and abs(level - last_level) <= SAME_LEVEL
    )


def masked(pixels: npt.NDArray[np.uint8], regions: list[Region], lines: list[Line]) -> npt.NDArray[np.uint8]:
    """An image that is black outside of `regions`, if there are any, and where `lines` stand."""
    result = pixels.copy()
    if regions:
        outside = np.ones(pixels.shape[:2], dtype=np.bool_)
        for left, top, right, bottom in regions:
            outside[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = False
        result[outside] = 0
    for line in lines:
        margin = (line.bottom - line.top) // 2
        result[max(line.top - margin, 0) : line.bottom + margin, max(line.left - margin, 0) : line.right + margin] = 0
    return result
