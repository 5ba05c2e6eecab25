"""Parts of an image that are filled: with what, and regions of the same area elsewhere."""

from typing import Literal

import numpy as np
import numpy.typing as npt
import PIL.Image
from PIL import ImageFilter
from PIL.Image import Image

from workflow_scripts.core.rows import Box
from workflow_scripts.core.saliency.grids import Windows

Mask = npt.NDArray[np.bool_]
"""(height, width): the pixels of a region."""

BLUR = 8
"""The blur's standard deviation is the longer side divided by this."""


def filler_of(image: Image, fill: Literal["mean", "blur"]) -> Image:
    """What parts of an image are filled with: its mean colour, or a blurred copy of it."""
    if fill == "blur":
        return image.filter(ImageFilter.GaussianBlur(max(image.size) / BLUR))
    mean = np.asarray(image, dtype=float).reshape(-1, 3).mean(0)
    return PIL.Image.new("RGB", image.size, tuple(int(value) for value in np.rint(mean)))


def filled(image: Image, filler: Image, region: Mask) -> Image:
    """A copy of an image with the pixels of `region` from `filler`."""
    pixels = np.asarray(image).copy()
    pixels[region] = np.asarray(filler)[region]
    return PIL.Image.fromarray(pixels)


def region_of_boxes(boxes: list[Box], width: int, height: int) -> Mask:
    """The pixels whose middle lies in any of the boxes."""
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    region = np.zeros((height, width), dtype=bool)
    for x1, y1, x2, y2 in boxes:
        region |= ((y >= y1) & (y < y2))[:, None] & ((x >= x1) & (x < x2))[None]
    return region


def region_of_windows(windows: Windows, chosen: npt.NDArray[np.int64]) -> Mask:
    """The pixels of some windows."""
    return np.asarray(np.isin(windows.labels, chosen))


def moved(region: Mask, rng: np.random.Generator) -> Mask:
    """A region of the same form and area elsewhere: shifted at random, around the edges too."""
    down, across = rng.integers(region.shape[0]), rng.integers(region.shape[1])
    return np.asarray(np.roll(region, (int(down), int(across)), (0, 1)))
