"""Box conventions of model families: numbers on a grid of their own, from pixels of the original image and back.

Every convention is linear along an axis: a place `p` in pixels is the number (p + before) · units / length, rounded
half up, where the model sees `length` pixels with `before` pixels of padding ahead of the image, and counts them in
`units`. Whole pixels go to a grid that is at least as fine and back without change; from a coarser grid they come back
within half of its unit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

from workflow_scripts.core.answers import Corners
from workflow_scripts.tasks.boxes.conventions import Number
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes, resized_size

DECIMALS = 3
"""Of a pixel, where a grid is coarser than pixels."""


@dataclass(frozen=True)
class ModelConvention:
    """The order of a box's four numbers, what they are a share of, and of how many units."""

    order: Literal["xyxy", "yxyx"]
    units: int | None  # from one side to the other; None: pixels of the image as it is resized for the model


CONVENTIONS = {
    "paligemma": ModelConvention("yxyx", 1023),
    "medgemma": ModelConvention("yxyx", 1000),
    "qwen2_5_vl": ModelConvention("xyxy", None),
    "qwen3_vl": ModelConvention("xyxy", 1000),
    "internvl": ModelConvention("xyxy", 1000),
    "chexagent": ModelConvention("xyxy", 100),
}
"""By name, which is a family's `box_convention`. PaliGemma's number is round(1023 · share), as its authors write it."""


class Axis(NamedTuple):
    """One axis of an image as a model counts it."""

    before: int  # pixels of padding ahead of the image
    length: int  # pixels, padding included
    units: int

    def number(self, place: Number) -> int:
        """A place in pixels of the image as a number of the model, within 0 and `units`."""
        if isinstance(place, int) or place.is_integer():
            number = (2 * (int(place) + self.before) * self.units + self.length) // (2 * self.length)
        else:
            number = int((place + self.before) * self.units / self.length + 0.5)
        return min(max(number, 0), self.units)

    def place(self, number: Number) -> float:
        """A number of the model in pixels of the image: whole ones, unless its grid is coarser than pixels."""
        place = number * self.length / self.units - self.before
        return round(place, DECIMALS if self.units < self.length else None)


@lru_cache(maxsize=4096)
def axes(boxes: ModelBoxes, width: int, height: int) -> tuple[Axis, Axis]:
    """Both axes of an image of `width` × `height` pixels; of one that is padded, the padding is counted."""
    units = CONVENTIONS[boxes.convention].units
    units_x, units_y = resized_size(boxes, width, height) if units is None else (units, units)
    if not boxes.padded:
        return Axis(0, width, units_x), Axis(0, height, units_y)
    side = max(width, height)
    return Axis((side - width) // 2, side, units_x), Axis((side - height) // 2, side, units_y)


def to_model(corners: Sequence[Number], boxes: ModelBoxes, width: int, height: int) -> list[int]:
    """Corners in pixels of the image as the four numbers of the model, in its order."""
    x, y = axes(boxes, width, height)
    x1, y1, x2, y2 = x.number(corners[0]), y.number(corners[1]), x.number(corners[2]), y.number(corners[3])
    return [y1, x1, y2, x2] if CONVENTIONS[boxes.convention].order == "yxyx" else [x1, y1, x2, y2]


def from_model(numbers: Sequence[Number], boxes: ModelBoxes, width: int, height: int) -> Corners:
    """Four numbers of the model, in its order, as corners in pixels of the image."""
    x, y = axes(boxes, width, height)
    a, b, c, d = numbers
    if CONVENTIONS[boxes.convention].order == "yxyx":
        a, b, c, d = b, a, d, c
    return [x.place(a), y.place(b), x.place(c), y.place(d)]
