"""Boxes as a source writes them: a list of boxes, one bare box, or JSON of these in a string."""

import json
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.boxes.conventions import BoxConvention
from workflow_scripts.tasks.boxes.formats import convention_of, expected_boxes
from workflow_scripts.tasks.boxes.parsing import (
    boxes_text,
    cut_to_image,
    learn_convention,
    misplaced,
    source_box,
    source_json,
)
from workflow_scripts.tasks.options import NOTHING

USUAL: BoxConvention = "xyxy"
"""Where neither the questions nor the boxes tell: FLARE 2026's detection."""


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """How boxes are written: see `learn_convention`."""
    boxes: list[object] = []
    for row in rows:
        try:
            boxes += _box_list(row.raw)
        except BadAnswer:
            continue
    return [Learned("box_convention", *learn_convention([row.question for row in rows], boxes, USUAL))] if rows else []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Boxes in the convention of the configuration, of the question, or of the subset."""
    return expected_boxes(question, conventions, USUAL)


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """A list of boxes; the empty list says that nothing is there.

    Raises:
        BadAnswer: it is missing or of another type.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    convention = convention_of(expected)
    boxes = tuple(source_box(box, convention) for box in _box_list(raw))
    return Answer(boxes_text(boxes, convention), boxes=boxes)


def _box_list(raw: object) -> list[object]:
    value = source_json(raw)
    if not isinstance(value, list):
        raise BadAnswer("wrong_answer_type", f"expected a list of boxes, found {type(value).__name__}")
    return [value] if value and not any(isinstance(item, list) for item in value) else value


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """The first box that cannot lie in the image."""
    details = (misplaced(box, width, height) for box in answer.boxes or ())
    return next((Fault("invalid_box", detail) for detail in details if detail), None)


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Corners in order, boxes cut to the image; None if nothing is left of one."""
    boxes = [cut_to_image(box, width, height) for box in answer.boxes or ()]
    if any(box is None for box in boxes):
        return None
    cut = tuple(box for box in boxes if box is not None)
    return Answer(boxes_text(cut, convention_of(expected)), boxes=cut)
