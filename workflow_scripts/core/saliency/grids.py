"""Where tokens lie in an image, and values of tokens carried to its pixels: the inverse of image preparation.

A family says of each image which rectangle of it, in pixels of the original image (turned as its EXIF says), each grid
of its tokens covers. Padding makes a rectangle reach beyond the image; tiles make several grids, which may overlap: of
a tiled family, the tiles and the image as a whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]
EDGE = 1e-9
"""Pixels by which the edge of a cell may miss the middle of a pixel, for rounding."""


class TokenGrid(NamedTuple):
    """Tokens in rows and columns of equal size over a rectangle, row by row, in pixels of the original image."""

    rows: int
    columns: int
    x1: float
    y1: float
    x2: float
    y2: float

    @property
    def tokens(self) -> int:
        """Number of tokens."""
        return self.rows * self.columns

    @property
    def cell(self) -> tuple[float, float]:
        """Width and height of what one token sees, pixels."""
        return (self.x2 - self.x1) / self.columns, (self.y2 - self.y1) / self.rows

    def box(self, token: int) -> tuple[float, float, float, float]:
        """Corners of what a token sees; outside of the image where there is padding."""
        row, column = divmod(token, self.columns)
        width, height = self.cell
        x, y = self.x1 + column * width, self.y1 + row * height
        return x, y, x + width, y + height


def whole_image(rows: int, columns: int, size: tuple[int, int]) -> TokenGrid:
    """A grid over an image of `size` = (width, height)."""
    return TokenGrid(rows, columns, 0.0, 0.0, float(size[0]), float(size[1]))


def tile_grids(rows: int, columns: int, side: int, size: tuple[int, int]) -> list[TokenGrid]:
    """Grids of `side` × `side` tokens, one a tile, of an image that is cut into tiles of equal size, row by row."""
    width, height = size[0] / columns, size[1] / rows
    return [
        TokenGrid(side, side, column * width, row * height, (column + 1) * width, (row + 1) * height)
        for row in range(rows)
        for column in range(columns)
    ]


def finest(grids: Sequence[TokenGrid]) -> TokenGrid:
    """One grid over all that `grids` cover, whose cells are as small as the smallest of theirs."""
    width, height = (min(grid.cell[axis] for grid in grids) for axis in (0, 1))
    x1, y1 = min(grid.x1 for grid in grids), min(grid.y1 for grid in grids)
    x2, y2 = max(grid.x2 for grid in grids), max(grid.y2 for grid in grids)
    return TokenGrid(round((y2 - y1) / height), round((x2 - x1) / width), x1, y1, x2, y2)


def pixel_map(grids: Sequence[TokenGrid], values: Sequence[float] | Numbers, width: int, height: int) -> Numbers:
    """Values of tokens as a map (height, width) of an image's pixels.

    A token's value is spread evenly over the rectangle that it sees: the sum over pixels is the sum over tokens, less
    what falls on padding. A pixel at the edge of a rectangle gets the share that lies in it.

    Args:
        grids: of the image, in the order of its tokens.
        values: one a token, of all grids.
    """
    total, first, numbers = np.zeros((height, width)), 0, np.asarray(values, dtype=float)
    for grid in grids:
        of_grid = numbers[first : first + grid.tokens].reshape(grid.rows, grid.columns)
        down = _shares(grid.rows, grid.y1, grid.y2, height)
        across = _shares(grid.columns, grid.x1, grid.x2, width)
        total += down @ of_grid @ across.T
        first += grid.tokens
    if first != len(numbers):
        raise ValueError(f"{len(numbers)} values for {first} tokens")
    return total


def _shares(cells: int, low: float, high: float, pixels: int) -> Numbers:
    """Share of each cell's length that lies in each pixel: (pixels, cells)."""
    edges = np.linspace(low, high, cells + 1)
    places = np.arange(pixels, dtype=float)[:, None]
    shared = np.minimum(places + 1, edges[None, 1:]) - np.maximum(places, edges[None, :-1])
    return np.asarray(np.clip(shared, 0, None) / ((high - low) / cells))


@dataclass(frozen=True)
class Windows:
    """An image in windows of whole tokens: what is filled at a time."""

    grid: TokenGrid  # the finest of the image's
    labels: npt.NDArray[np.int64]  # (height, width): the window of each pixel, from 0
    tokens: tuple[npt.NDArray[np.int64], ...]  # of each window, its tokens in `grid`

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.tokens)


def windows_of(grids: Sequence[TokenGrid], width: int, height: int, most: int) -> Windows:
    """Windows of whole tokens, at most `most` a side; a pixel belongs to the one that holds its middle.

    Windows without a pixel, in padding or of tokens smaller than a pixel, are left out.
    """
    grid = finest(grids)
    rows, down = _lines(grid.rows, grid.y1, grid.y2, height, most)
    columns, across = _lines(grid.columns, grid.x1, grid.x2, width, most)
    lines = int(columns.max()) + 1
    window_of_token = (rows[:, None] * lines + columns[None]).ravel()
    window_of_pixel = down[:, None] * lines + across[None]
    present, labels = np.unique(window_of_pixel, return_inverse=True)
    tokens = tuple(np.flatnonzero(window_of_token == window) for window in present)
    return Windows(grid, labels.reshape(height, width), tokens)


def _lines(cells: int, low: float, high: float, pixels: int, most: int) -> tuple[npt.NDArray[np.int64], ...]:
    """Along one axis: the line of windows of each cell, and of each pixel by its middle."""
    together = -(-cells // most)
    middles = (np.arange(pixels) + 0.5 - low) / (high - low) * cells
    of_pixel = np.clip(np.floor(middles + EDGE), 0, cells - 1).astype(np.int64)
    return np.arange(cells) // together, of_pixel // together


def window_values(windows: Windows, of_pixels: Numbers) -> Numbers:
    """The mean of a pixel map over each window."""
    labels = windows.labels.ravel()
    return np.asarray(np.bincount(labels, of_pixels.ravel()) / np.bincount(labels))


def token_values(windows: Windows, of_windows: Numbers) -> Numbers:
    """Values of windows, each spread evenly over its tokens, as values of the tokens of the windows' grid."""
    values = np.zeros(windows.grid.tokens)
    for tokens, value in zip(windows.tokens, of_windows, strict=True):
        values[tokens] = value / len(tokens)
    return values
