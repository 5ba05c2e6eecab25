"""Images whose content determines the answer: marks on a noisy canvas, drawn from a seeded generator.

The toy dataset (`synthetic.dataset`) and the lessons of the toy model (`synthetic.lessons`) are drawn with these.
Boxes are `(x1, y1, x2, y2)` in pixels, the right and lower edge excluded.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

Box = tuple[int, int, int, int]

SHAPES = ("disc", "ring", "square", "cross", "triangle")
COLOURS = {
    "white": (235, 235, 235),
    "red": (220, 50, 50),
    "green": (60, 200, 80),
    "blue": (70, 100, 240),
    "yellow": (230, 210, 60),
}


@dataclass(frozen=True)
class Mark:
    """One drawn object: what it is and where."""

    shape: str
    colour: str
    box: Box


def canvas(rng: np.random.Generator, width: int, height: int, tint: tuple[int, int, int]) -> Image.Image:
    """A dark noisy ground of `width` × `height` pixels; the tint tells the modality."""
    noise = rng.integers(0, 24, size=(height, width, 1), dtype=np.uint8)
    return Image.fromarray(noise + np.asarray(tint, dtype=np.uint8), mode="RGB")


def draw_mark(image: Image.Image, mark: Mark) -> None:
    """Draw `mark` so that its ink touches every side of its box."""
    x1, y1, x2, y2 = mark.box
    inner = (x1, y1, x2 - 1, y2 - 1)
    ink = COLOURS[mark.colour]
    pen = ImageDraw.Draw(image)
    stroke = max(2, min(x2 - x1, y2 - y1) // 5)
    if mark.shape == "disc":
        pen.ellipse(inner, fill=ink)
    elif mark.shape == "ring":
        pen.ellipse(inner, outline=ink, width=stroke)
    elif mark.shape == "square":
        pen.rectangle(inner, fill=ink)
    elif mark.shape == "cross":
        middle_x, middle_y, half = (x1 + x2) // 2, (y1 + y2) // 2, stroke // 2 + 1
        pen.rectangle((middle_x - half, y1, middle_x + half, y2 - 1), fill=ink)
        pen.rectangle((x1, middle_y - half, x2 - 1, middle_y + half), fill=ink)
    elif mark.shape == "triangle":
        pen.polygon([((x1 + x2) // 2, y1), (x2 - 1, y2 - 1), (x1, y2 - 1)], fill=ink)
    else:
        raise ValueError(f"unknown shape {mark.shape!r}: expected one of {', '.join(SHAPES)}")


def random_box(
    rng: np.random.Generator, area: Box, smallest: int, largest: int, *, square: bool = False, step: int = 1
) -> Box:
    """A box with sides of `smallest..largest` pixels inside `area`, its corners on a grid of `step` pixels."""
    x1, y1, x2, y2 = area

    def side(available: int) -> int:
        return int(rng.integers(smallest, min(largest, available) + 1)) // step * step

    width = side(x2 - x1)
    height = width if square else side(y2 - y1)
    left = x1 + int(rng.integers(0, (x2 - x1 - width) // step + 1)) * step
    top = y1 + int(rng.integers(0, (y2 - y1 - height) // step + 1)) * step
    return left, top, left + width, top + height


def cell_boxes(rng: np.random.Generator, count: int, size: int, cells: int) -> list[Box]:
    """`count` boxes that never touch: each in its own cell of a `cells` × `cells` grid over `size` pixels."""
    pitch = size // cells
    chosen = rng.permutation(cells * cells)[:count]
    boxes = []
    for cell in chosen:
        row, column = divmod(int(cell), cells)
        area = (column * pitch + 1, row * pitch + 1, (column + 1) * pitch - 1, (row + 1) * pitch - 1)
        boxes.append(random_box(rng, area, int(pitch * 0.5), pitch - 2, square=True))
    return boxes
