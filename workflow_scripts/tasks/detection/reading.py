"""Boxes as models write them: a JSON list, or boxes anywhere in a text."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.boxes.formats import convention_of
from workflow_scripts.tasks.boxes.parsing import corners_of, read_boxes, strict_json
from workflow_scripts.tasks.boxes.text import boxes_in_text
from workflow_scripts.tasks.language.text import EMPTY_ANSWER, LONGEST

_EMPTY_LIST = re.compile(r"\[\s*\](?:\s*```)?\s*$")


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """A JSON list of boxes of four numbers."""
    if len(text) > LONGEST:
        return None
    return read_boxes(strict_json(text.strip()), convention_of(expected))


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """Every box that a text holds."""
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    text = text[:LONGEST].strip()
    if EMPTY_ANSWER.match(text):
        return []
    boxes = boxes_in_text(text, expected)
    return boxes if boxes or _EMPTY_LIST.search(text) else None


def reference(row: Row) -> Value:
    """The boxes as corners.

    Raises:
        BadFile: the row has none.
    """
    if row.boxes is None:
        raise BadFile(f"row {row.uid}: a {row.task} row needs its 'boxes'; convert the data again")
    return [corners_of(box) for box in row.boxes]
