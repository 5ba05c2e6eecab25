"""Strict readers: an answer counts only in exactly the form that was asked for.

Leading and trailing white space and letter case are free, as in FLARE's own scorer; nothing else is. Each reader
returns None for what it does not read and raises nothing.
"""

import json
import math
import re

from workflow_scripts.tasks.expected import Asked, Box, Value, squeezed

LONGEST = 32_768
"""Characters looked at; a longer answer is no answer in the asked format."""
LARGEST = 1e9
"""No count, share or pixel of these data reaches it: a number beyond is malformed, not large."""

_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)
_NUMBER = re.compile(r"[+-]?[0-9]{1,9}(\.[0-9]{1,20})?\s?%?", re.ASCII)


def read_strict(asked: Asked, text: str) -> Value | None:
    """The value of an answer in exactly the asked form, or None."""
    if asked.task == "report":
        return text.strip() or None
    if len(text) > LONGEST:
        return None
    text = text.strip()
    match asked.task:
        case "classification":
            return _option(asked, text)
        case "multi_label":
            return _labels(asked, text)
        case "detection":
            return boxes_in(parsed(text), asked.convention)
        case "instance_detection":
            return _instances(asked, text)
        case "counting":
            return float(text) if _COUNT.fullmatch(text) else None
        case "regression":
            return float(text.rstrip("% ")) if _NUMBER.fullmatch(text) else None
    raise ValueError(f"no reader for task {asked.task!r}")


def _option(asked: Asked, text: str) -> str | None:
    if asked.by_letter:
        letter = text.upper()
        known = letter in asked.letters if asked.letters else len(letter) == 1 and letter.isascii() and letter.isalpha()
        return letter if known else None
    wanted = squeezed(text)
    return next((word for word in asked.words if squeezed(word) == wanted), None)


def _labels(asked: Asked, text: str) -> list[str] | None:
    """Labels between separators; an empty answer is the empty set, and so is the word None."""
    if squeezed(text) in ("", "none"):
        return []
    names = {squeezed(choice): choice for choice in asked.choices}
    found = split_labels(text, asked.separator, names)
    if asked.choices:
        if any(squeezed(label) not in names for label in found):
            return None
        found = [names[squeezed(label)] for label in found]
    elif any(len(label) > 100 or not label for label in found):
        return None
    return list(dict.fromkeys(found))


def split_labels(text: str, separator: str, names: dict[str, str]) -> list[str]:
    """`text` split at `separator`, keeping together a label of `names` that holds the separator itself."""
    parts = [part.strip() for part in text.split(separator)]
    longest = max((name.count(separator) for name in names), default=0) + 1
    found = []
    start = 0
    while start < len(parts):
        for length in range(min(longest, len(parts) - start), 0, -1):
            joined = f"{separator} ".join(parts[start : start + length])
            if length == 1 or squeezed(joined) in names:
                found.append(joined)
                start += length
                break
    return found


def parsed(text: str) -> object:
    """The JSON value of `text`, or None where it is not JSON (or is null)."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def boxes_in(value: object, convention: str) -> list[Box] | None:
    """A JSON list of boxes of four numbers as corners, or None. The empty list is an answer: nothing is there."""
    if not isinstance(value, list):
        return None
    found = []
    for box in value:
        if not isinstance(box, list) or len(box) != 4 or not all(_is_number(number) for number in box):
            return None
        found.append(as_corners(box, convention))
    return found


def as_corners(box: list, convention: str) -> Box:
    """Four numbers of a convention as corners."""
    x, y, right, lower = (float(number) for number in box)
    return [x, y, x + right, y + lower] if convention == "xywh" else [x, y, right, lower]


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and abs(value) < LARGEST


def _instances(asked: Asked, text: str) -> dict[str, list[Box]] | None:
    value = parsed(text)
    if not isinstance(value, dict):
        return None
    found = {}
    for identity, listed in value.items():
        boxes = boxes_in(listed, asked.convention)
        if boxes is None:
            return None
        found[identity.strip().casefold()] = boxes
    return found
