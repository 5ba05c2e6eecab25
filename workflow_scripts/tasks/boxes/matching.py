"""Boxes: intersection over union, and the greedy matching that FLARE's detection F1 counts."""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.core.answers import Corners

FEW = 64
"""Pairs of boxes of one row up to which plain numbers are faster than arrays; most rows have fewer."""


def overlaps(reference: Sequence[Corners], predicted: Sequence[Corners]) -> list[list[float]]:
    """Intersection over union of every reference box (rows) with every predicted box (columns), corners in pixels.

    Equal to pycocotools' `iou` with `iscrowd` 0 for proper boxes; a box without area overlaps nothing.
    """
    if len(reference) * len(predicted) <= FEW:
        return [[_overlap(one, other) for other in predicted] for one in reference]
    a, b = np.asarray(reference, dtype=float)[:, None], np.asarray(predicted, dtype=float)[None]
    width = np.clip(np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]), 0, None)
    height = np.clip(np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]), 0, None)
    shared = width * height
    union = _areas(a) + _areas(b) - shared
    table: list[list[float]] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0).tolist()
    return table


def _overlap(a: Corners, b: Corners) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = float(width * height)
    union = _area(a) + _area(b) - shared
    return shared / union if union > 0 else 0.0


def _area(box: Corners) -> float:
    return float(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))


def _areas(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(boxes[..., 2] - boxes[..., 0], 0, None) * np.clip(boxes[..., 3] - boxes[..., 1], 0, None))


def turned(overlap: Sequence[Sequence[float]]) -> list[list[float]]:
    """The same table with a row for each column."""
    return [list(column) for column in zip(*overlap, strict=True)]


def matched(overlap: Sequence[Sequence[float]], threshold: float) -> int:
    """Number of matches: each row in turn takes the free column of largest overlap strictly above `threshold`.

    FLARE 2026 gives the turns to the reference boxes; FLARE 2025 to the predicted ones (pass it `turned`). Of equal
    overlaps the first column is taken.
    """
    taken: set[int] = set()
    for row in overlap:
        best, place = threshold, -1
        for column, value in enumerate(row):
            if value > best and column not in taken:
                best, place = value, column
        if place >= 0:
            taken.add(place)
    return len(taken)
