"""Baselines that answer from training rows alone."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, always, median_box, whole_image
from workflow_scripts.tasks.boxes.formats import convention_of
from workflow_scripts.tasks.boxes.parsing import boxes_text


def majority(rows: Sequence[Row]) -> Answer:
    """The median box."""
    boxes = [box for row in rows for box in row.boxes or ()]
    usual = [median_box(boxes)] if boxes else []
    return lambda row: boxes_text(usual, convention_of(row.expected))


def empty(rows: Sequence[Row]) -> Answer:
    """No box."""
    return always("[]")


def constant(rows: Sequence[Row]) -> Answer:
    """The whole image as the box."""
    return lambda row: boxes_text([whole_image(row)], convention_of(row.expected))


def answer_of(row: Row, asking: Row) -> str:
    """The boxes of a training row in the convention of another row."""
    if row.expected.box_convention == asking.expected.box_convention:
        return row.answer
    return boxes_text(row.boxes or (), convention_of(asking.expected))
