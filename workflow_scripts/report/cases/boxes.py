"""Boxes of a row that the page draws: the reference's and each system's, with which of them match."""

import json
from dataclasses import dataclass

import numpy as np

from workflow_scripts.core.answers import Corners
from workflow_scripts.core.rows import Outcome, Row
from workflow_scripts.core.tasks import load_part
from workflow_scripts.tasks.boxes.matching import overlaps


@dataclass(frozen=True)
class LabelledBox:
    """A box in pixels of the original image, with the identity that it is said to show, if any."""

    identity: str | None
    corners: Corners


@dataclass(frozen=True)
class JudgedBox:
    """A box of one side beside the boxes of the other: the largest overlap, and whether it counts as a match."""

    box: LabelledBox
    overlap: float  # largest intersection over union with a box of the same identity
    matched: bool | None  # None: the task names no overlap that counts


@dataclass(frozen=True)
class RowBoxes:
    """A system's boxes and the reference's of one row."""

    predicted: list[JudgedBox]
    reference: list[JudgedBox]

    @property
    def false(self) -> int:
        """Boxes of the system that match none of the reference's."""
        return sum(box.matched is False for box in self.predicted)

    @property
    def missed(self) -> int:
        """Boxes of the reference that none of the system's matches."""
        return sum(box.matched is False for box in self.reference)


def has_boxes(row: Row) -> bool:
    """Whether the answer of a row is boxes, by its typed columns."""
    return row.boxes is not None or row.instances is not None


def reference_boxes(row: Row) -> list[LabelledBox]:
    """The reference's boxes; none for other answers."""
    if row.instances is not None:
        return [LabelledBox(instance.identity, list(instance.box)) for instance in row.instances]
    return [LabelledBox(None, list(box)) for box in row.boxes or ()]


def answered_boxes(outcome: Outcome) -> list[LabelledBox]:
    """The boxes of an answer as the strict reader reads it, whose reading is scored; none where it reads nothing."""
    value = None if outcome.strict is None else json.loads(outcome.strict)
    if isinstance(value, dict):
        return [LabelledBox(identity, corners) for identity, boxes in value.items() for corners in boxes]
    return [LabelledBox(None, corners) for corners in value or []]


def row_boxes(row: Row, outcome: Outcome) -> RowBoxes:
    """A system's boxes beside the reference's, matched as the task's row score counts them."""
    reference, predicted = reference_boxes(row), answered_boxes(outcome)
    overlap = _overlap_by_identity(reference, predicted)
    threshold = counted_overlap(row.task)
    best_of_predicted = overlap.max(axis=0, initial=0.0)
    best_of_reference = overlap.max(axis=1, initial=0.0)
    if threshold is None:
        return RowBoxes(
            [JudgedBox(box, float(best), None) for box, best in zip(predicted, best_of_predicted, strict=True)],
            [JudgedBox(box, float(best), None) for box, best in zip(reference, best_of_reference, strict=True)],
        )
    # Instances are matched from the predicted side, plain boxes from the reference's: see the tasks' metrics.
    if row.instances is not None:
        pairs = [(r, p) for p, r in _greedy_pairs(overlap.T, threshold)]
    else:
        pairs = _greedy_pairs(overlap, threshold)
    matched_reference, matched_predicted = {r for r, _ in pairs}, {p for _, p in pairs}
    return RowBoxes(
        [JudgedBox(box, float(best_of_predicted[n]), n in matched_predicted) for n, box in enumerate(predicted)],
        [JudgedBox(box, float(best_of_reference[n]), n in matched_reference) for n, box in enumerate(reference)],
    )


def counted_overlap(task: str) -> float | None:
    """The overlap above which a task's row score counts two boxes as a match; None where its metrics name none."""
    overlap: float | None = getattr(load_part(task, "metrics"), "ROW_OVERLAP", None)
    return overlap


def image_of_boxes(row: Row) -> int:
    """The place of the image that boxes lie in: the first of the size that the expected format states, or the first."""
    size = (row.expected.width, row.expected.height)
    return next((place for place, image in enumerate(row.images) if (image.width, image.height) == size), 0)


def _overlap_by_identity(reference: list[LabelledBox], predicted: list[LabelledBox]) -> np.ndarray:
    """Intersection over union [reference × predicted]; zero between identities."""
    table = overlaps([box.corners for box in reference], [box.corners for box in predicted])
    overlap = np.array(table).reshape(len(reference), len(predicted))
    identities = [[one.identity == other.identity for other in predicted] for one in reference]
    return overlap * np.array(identities, dtype=float).reshape(overlap.shape)


def _greedy_pairs(overlap: np.ndarray, threshold: float) -> list[tuple[int, int]]:
    """Pairs as `tasks.boxes.matching.matched` counts them: each row in turn takes its best free column."""
    if overlap.size == 0:
        return []
    free, pairs = overlap.copy(), []
    for row, values in enumerate(free):
        best = int(values.argmax())
        if values[best] > threshold:
            pairs.append((row, best))
            free[:, best] = -1.0
    return pairs
