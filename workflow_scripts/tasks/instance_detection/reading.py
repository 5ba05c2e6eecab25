"""Boxes by identity as models write them: a JSON object, or boxes behind quoted keys."""

import re

from workflow_scripts.core.answers import Corners, Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.box_formats import convention_of
from workflow_scripts.tasks.boxes import boxes_in_text, corners_of, read_boxes, strict_json
from workflow_scripts.tasks.text import EMPTY_ANSWER, LONGEST

_KEY = re.compile(r"[\"']([0-9A-Za-z]{1,3})[\"']\s*:", re.ASCII)


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """A JSON object of lists of boxes."""
    if len(text) > LONGEST:
        return None
    value = strict_json(text.strip())
    if not isinstance(value, dict):
        return None
    by_identity = {}
    for identity, listed in value.items():
        boxes = read_boxes(listed, convention_of(expected))
        if boxes is None:
            return None
        by_identity[identity.strip().casefold()] = boxes
    return by_identity


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """Boxes after each quoted key; a truncated last box is not read."""
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    text = text[:LONGEST].strip()
    if EMPTY_ANSWER.match(text):
        return {}
    keys = list(_KEY.finditer(text))
    by_identity: dict[str, list[Corners]] = {}
    ends = [key.start() for key in keys[1:]] + [len(text)]
    for key, end in zip(keys, ends, strict=False):
        boxes = boxes_in_text(text[key.end() : end], convention_of(expected))
        if boxes:
            known = by_identity.setdefault(key.group(1).casefold(), [])
            known.extend(box for box in boxes if box not in known)
    return by_identity or None


def reference(row: Row) -> Value:
    """The boxes as corners, by identity in lower case.

    Raises:
        BadFile: the row has none.
    """
    if row.instances is None:
        raise BadFile(f"row {row.uid}: a {row.task} row needs its 'instances'; convert the data again")
    by_identity: dict[str, list[Corners]] = {}
    for instance in row.instances:
        by_identity.setdefault(instance.identity.strip().casefold(), []).append(corners_of(instance.box))
    return by_identity
