"""Baselines that answer from training rows alone."""

from collections.abc import Sequence

from workflow_scripts.core.rows import Box, Instance, Row
from workflow_scripts.tasks.baselines import Answer, always, median_box, whole_image
from workflow_scripts.tasks.boxes.formats import convention_of
from workflow_scripts.tasks.boxes.parsing import instances_text


def majority(rows: Sequence[Row]) -> Answer:
    """The median box of each identity that half of the rows or more show."""
    usual = _usual_instances(rows)
    return lambda row: instances_text(usual, convention_of(row.expected))


def empty(rows: Sequence[Row]) -> Answer:
    """No box."""
    return always("{}")


def constant(rows: Sequence[Row]) -> Answer:
    """The whole image as the box of each usual identity."""
    usual = _usual_instances(rows)
    return lambda row: instances_text(
        [Instance(instance.identity, whole_image(row)) for instance in usual], convention_of(row.expected)
    )


def answer_of(row: Row, asking: Row) -> str:
    """The boxes of a training row in the convention of another row."""
    if row.expected.box_convention == asking.expected.box_convention:
        return row.answer
    return instances_text(row.instances or (), convention_of(asking.expected))


def _usual_instances(rows: Sequence[Row]) -> list[Instance]:
    by_identity: dict[str, list[Box]] = {}
    for instance in (instance for row in rows for instance in row.instances or ()):
        by_identity.setdefault(instance.identity, []).append(instance.box)
    return [
        Instance(identity, median_box(boxes))
        for identity, boxes in sorted(by_identity.items())
        if len(boxes) * 2 >= len(rows)
    ]
