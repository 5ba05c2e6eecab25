"""Boxes: intersection over union, and the greedy matching that FLARE's detection F1 counts."""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.core.answers import Corners


def overlaps(reference: Sequence[Corners], predicted: Sequence[Corners]) -> np.ndarray:
    """Intersection over union of every reference box (rows) with every predicted box (columns), corners in pixels.

    Equal to pycocotools' `iou` with `iscrowd` 0 for proper boxes; a box without area overlaps nothing.
    """
    if not reference or not predicted:
        return np.zeros((len(reference), len(predicted)))
    a, b = np.asarray(reference, dtype=float)[:, None], np.asarray(predicted, dtype=float)[None]
    width = np.clip(np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0]), 0, None)
    height = np.clip(np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1]), 0, None)
    shared = width * height
    union = _area(a) + _area(b) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))


def _area(boxes: np.ndarray) -> np.ndarray:
    return np.asarray(np.clip(boxes[..., 2] - boxes[..., 0], 0, None) * np.clip(boxes[..., 3] - boxes[..., 1], 0, None))


def matched(overlap: np.ndarray, threshold: float) -> int:
    """Number of matches: each row in turn takes the free column of largest overlap strictly above `threshold`.

    FLARE 2026 gives the turns to the reference boxes; FLARE 2025 to the predicted ones (pass the transpose). Of equal
    overlaps the first column is taken.
    """
    if overlap.size == 0:
        return 0
    free = overlap.copy()
    hits = 0
    for row in free:
        best = int(row.argmax())
        if row[best] > threshold:
            hits += 1
            free[:, best] = -1.0
    return hits
