"""Boxes and their two conventions: corners `[x1, y1, x2, y2]`, and corner and size `[x, y, width, height]`.

Integer boxes go to a convention and back without change.
"""

from collections.abc import Sequence
from typing import Literal

BoxConvention = Literal["xyxy", "xywh"]
Number = int | float


def to_corners(box: Sequence[Number], convention: BoxConvention) -> tuple[Number, Number, Number, Number]:
    """A box written in `convention` as corners, in the same pixels."""
    a, b, c, d = box
    return (a, b, c, d) if convention == "xyxy" else (a, b, a + c, b + d)


def from_corners(corners: Sequence[Number], convention: BoxConvention) -> list[Number]:
    """Corners as the four numbers of `convention`; whole numbers are written without a point."""
    x1, y1, x2, y2 = corners
    box = (x1, y1, x2, y2) if convention == "xyxy" else (x1, y1, x2 - x1, y2 - y1)
    return [value if type(value) is int else whole(value) for value in box]  # most are, and a call takes longer


def whole(value: Number) -> Number:
    """`value` as an int where it is one."""
    return value if type(value) is int else int(value) if float(value).is_integer() else value
