"""FLARE 2026's count of matched boxes, with its faults: what it takes for boxes is what Python's literals say.

Both sides are compared as they are written, without a box convention. An answer that is no literal (broken JSON,
fences, prose) is left out together with its reference boxes; a literal that is no list misses every reference box; each
entry of a list is a predicted box, be it a number. Equal to the published evaluation on the reference vectors.
"""

import ast
import json
import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple

OVERLAP = 0.5
LONGEST = 100_000
"""Characters; a longer answer is left out as one that is no literal."""


class Counts(NamedTuple):
    """Boxes of one row, or of several."""

    matched: int = 0
    false: int = 0
    missed: int = 0


def count_boxes(reference_raw: str, text: str) -> Counts | None:
    """Counts of one row; None where the evaluation leaves it out.

    Args:
        reference_raw: JSON of the source's value.
        text: the answer.
    """
    try:
        reference, predicted = _literal(json.loads(reference_raw)), _literal(text)
        if not isinstance(predicted, list):
            return Counts(missed=len(reference))
        return _matched(list(reference), predicted)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def _literal(value: Any) -> Any:
    """A value as it is, a text as the literal that it writes."""
    if not isinstance(value, str):
        return value
    if len(value) > LONGEST:
        raise ValueError("too long")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of escapes that Python does not know
        return ast.literal_eval(value)


def _matched(reference: Sequence[object], predicted: Sequence[object]) -> Counts:
    """Each reference box in turn takes the free box of largest overlap, the first of equal ones, if it is above 0.5."""
    taken: set[int] = set()
    for box in reference:
        overlaps = {place: _overlap(box, other) for place, other in enumerate(predicted) if place not in taken}
        best = _first_largest(overlaps)
        if best is not None and overlaps[best] > OVERLAP:
            taken.add(best)
    return Counts(len(taken), len(predicted) - len(taken), len(reference) - len(taken))


def _first_largest(overlaps: dict[int, float]) -> int | None:
    best, largest = None, 0.0
    for place, overlap in overlaps.items():
        if overlap > largest:  # false for NaN
            best, largest = place, overlap
    return best


def _overlap(one: Any, two: Any) -> float:
    """Intersection over union of two boxes; 0 where one of them is none."""
    try:
        left, top, right, bottom = one
        left_2, top_2, right_2, bottom_2 = two
        width = min(right, right_2) - max(left, left_2)
        height = min(bottom, bottom_2) - max(top, top_2)
        if width <= 0 or height <= 0:
            return 0.0
        shared = width * height
        union = (right - left) * (bottom - top) + (right_2 - left_2) * (bottom_2 - top_2) - shared
        return float(shared / union) if union > 0 else 0.0
    except (TypeError, ValueError, ArithmeticError):
        return 0.0
