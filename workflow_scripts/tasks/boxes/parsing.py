"""Boxes: the one parser of them, for sources and for answers, and their text."""

import json
from collections.abc import Iterable, Sequence
from typing import cast

from workflow_scripts.core.answers import BadAnswer, Corners
from workflow_scripts.core.rows import Box, Instance
from workflow_scripts.tasks.boxes.conventions import BoxConvention, from_corners, to_corners, whole
from workflow_scripts.tasks.language.text import LARGEST
from workflow_scripts.tasks.questions import convention_in

_NUMBERS = {int, float}
"""Types of an edge of a box; bool is none of them."""


def strict_json(text: str) -> object:
    """The JSON value of an answer, or None where it is not JSON (or is null)."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def pairs_json(text: str) -> list[tuple[str, object]] | None:
    """The keys and values of an answer that is a JSON object, doubled keys included; None for anything else."""
    try:
        value = json.loads(text, parse_constant=_refuse, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError):
        return None
    return list(value) if isinstance(value, _Pairs) else None


class _Pairs(list[tuple[str, object]]):
    """An object's keys and values, in their order."""


def source_json(raw: object) -> object:
    """A source's value, parsed where it is JSON in a string.

    Raises:
        BadAnswer: the string is not JSON.
    """
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise BadAnswer("wrong_answer_type", f"{raw.strip()[:60]!r} is not valid JSON") from None


def box_fault(raw: object) -> str | None:
    """Why a JSON value is no box of four finite numbers below 10⁹; None if it is one."""
    if not isinstance(raw, list) or len(raw) != 4 or not {*map(type, raw)} <= _NUMBERS:
        return f"{_short(raw)} is not four numbers"
    a, b, c, d = raw  # one by one, in a third of a generator's time; no comparison with what is no number is true
    if not (-LARGEST < a < LARGEST and -LARGEST < b < LARGEST and -LARGEST < c < LARGEST and -LARGEST < d < LARGEST):
        return f"{_short(raw)} holds a number that is not finite or absurd"
    return None


def _short(raw: object) -> str:
    try:
        return json.dumps(raw, ensure_ascii=True)[:80]
    except (RecursionError, ValueError):
        return "a deeply nested value"


def source_box(raw: object, convention: BoxConvention) -> Box:
    """A source's box as corners.

    Raises:
        BadAnswer: it is none.
    """
    if fault := box_fault(raw):
        raise BadAnswer("invalid_box", fault)
    return Box(*to_corners(raw, convention))  # type: ignore[arg-type]


def read_boxes(value: object, convention: BoxConvention) -> list[Corners] | None:
    """A JSON list of boxes as corners, or None. The empty list is an answer: nothing is there."""
    if not isinstance(value, list) or any(map(box_fault, value)):
        return None
    return [[float(edge) for edge in to_corners(box, convention)] for box in value]


def corners_of(box: Box) -> Corners:
    """A box of a row as the readers return boxes."""
    return [box.x1, box.y1, box.x2, box.y2]


def boxes_text(boxes: Iterable[Box], convention: BoxConvention) -> str:
    """The answer of a detection row."""
    return json.dumps([from_corners(box, convention) for box in boxes])


def instances_text(instances: Iterable[Instance], convention: BoxConvention) -> str:
    """The answer of an instance detection row; identities in the order of their first box."""
    by_identity: dict[str, list[list[int | float]]] = {}
    for instance in instances:
        by_identity.setdefault(instance.identity, []).append(from_corners(instance.box, convention))
    return json.dumps(by_identity)


def misplaced(box: Box, width: int, height: int) -> str | None:
    """Why a box cannot lie in an image of `width` × `height` pixels; None if it can."""
    if box.x2 <= box.x1 or box.y2 <= box.y1:
        fault = "is empty"
    elif box.x1 < 0 or box.y1 < 0 or box.x2 > width or box.y2 > height:
        fault = f"leaves the image of {width} × {height}"
    else:
        return None
    return f"the box with corners {[whole(edge) for edge in box]} {fault}"


def cut_to_image(box: Box, width: int, height: int) -> Box | None:
    """The box with its corners in order and cut to the image; None if nothing is left of it."""
    x1, x2 = sorted((box.x1, box.x2))
    y1, y2 = sorted((box.y1, box.y2))
    cut = Box(max(x1, 0), max(y1, 0), min(x2, width), min(y2, height))
    return cut if cut.x1 < cut.x2 and cut.y1 < cut.y2 else None


def learn_convention(
    questions: Sequence[str], boxes: Sequence[object], usual: BoxConvention
) -> tuple[BoxConvention, int, int]:
    """The box convention of a subset, its votes and what could vote.

    The one that most questions name; else `xywh` if more than a tenth of the boxes are none in corners (a few boxes
    are wrong in any subset, under either convention); else the task's usual one.
    """
    named = [cast(BoxConvention, convention) for convention in map(convention_in, questions) if convention]
    if named:
        winner = max(sorted(set(named)), key=named.count)
        return winner, named.count(winner), len(named)
    reversed_corners = sum(map(_no_corners, boxes))
    if reversed_corners > len(boxes) / 10:
        return "xywh", reversed_corners, len(boxes)
    return usual, len(boxes) - reversed_corners, len(boxes)


def _no_corners(box: object) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(value, int | float) for value in box)
        and (box[2] <= box[0] or box[3] <= box[1])
        and box[2] > 0
        and box[3] > 0
    )
