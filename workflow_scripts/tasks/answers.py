"""Answers, typed by task: what a source writes, as labels, a number or boxes, and as the text to learn."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from workflow_scripts.core.boxes import Convention, Corners, from_corners, to_corners, whole
from workflow_scripts.core.tasks import Task
from workflow_scripts.tasks.questions import KEPT, Option

Options = tuple[Option, ...]
Choices = tuple[str, ...] | None

_NUMBER = re.compile(r"^[+-]?(?:\d{1,15}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?(\s*%)?$", re.ASCII)
_COUNT_LIMIT = 10**15
_NOTHING = {"", "none", "null", "nan", "n/a"}


class BadAnswer(Exception):
    """An answer is not what its task asks for; `reason` is one of `data.conversion.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class Customs:
    """How one task of one data set writes its answers; resolved over all its rows (`data.conversion.conventions`)."""

    separator: str = ","
    percent: bool = False
    convention: Convention = "xyxy"


@dataclass(frozen=True)
class Typed:
    """An answer as text to learn, and typed; fields of other tasks are None. Boxes are corners in pixels."""

    answer: str
    labels: list[str] | None = None
    number: float | None = None
    boxes: list[Corners] | None = None
    instances: list[tuple[str, Corners]] | None = None
    convention: Convention | None = None


def read_answer(task: Task, raw: object, options: Options, choices: Choices, customs: Customs) -> Typed:
    """Type the source's value.

    Args:
        task: the row's task.
        raw: the JSON value as found.
        options: lettered options of the question.
        choices: label list of the question.
        customs: separator, percentage and box convention; a box convention of the question is already in it.

    Raises:
        BadAnswer: it is missing or of another type. Whether an option or box fits is checked by `misfit` and
            `bad_box`, which a policy may overrule.
    """
    if task == "multi_label":
        return _labels(raw, options, choices, customs.separator)
    if _is_nothing(raw, options):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    if task == "classification":
        text = _text(raw)
        return Typed(text, labels=[text])
    if task == "report":
        return Typed(_text(raw))
    if task == "counting":
        return _count(raw)
    if task == "regression":
        return _measure(raw, customs.percent)
    return _boxes(raw, customs.convention) if task == "detection" else _instances(raw, customs.convention)


def _is_nothing(raw: object, options: Options) -> bool:
    """Whether a value stands for no answer; an option may be called None, and then it is one."""
    if not isinstance(raw, str):
        return raw is None
    text = raw.strip().lower()
    return text in _NOTHING and not (text and options and misfit([text], options, None) is None)


def _text(raw: object) -> str:
    if isinstance(raw, str):
        return raw.strip()
    if isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) < _COUNT_LIMIT:
        return str(raw)
    raise BadAnswer("wrong_answer_type", f"expected text, found {type(raw).__name__}")


def split_labels(text: str, separator: str, known: Sequence[str]) -> list[str]:
    """Labels of `text`; those of `known` may hold the separator inside."""
    labels, rest = [], text.strip()
    by_length = sorted(known, key=len, reverse=True)
    while rest:
        label = next(
            (
                k
                for k in by_length
                if rest.lower().startswith(k.lower()) and rest[len(k) :].lstrip()[:1] in ("", separator)
            ),
            None,
        )
        if label is None:
            head, _, rest = rest.partition(separator)
        else:
            head, rest = rest[: len(label)], rest[len(label) :].lstrip().removeprefix(separator)
        labels.append(head.strip())
        rest = rest.strip()
    return [label for label in labels if label]


def _labels(raw: object, options: Options, choices: Choices, separator: str) -> Typed:
    if raw is None:
        raise BadAnswer("no_answer", "the answer is null")
    known = choices or [text for _, text in options]
    if isinstance(raw, list):
        if not all(isinstance(item, str) for item in raw):
            raise BadAnswer("wrong_answer_type", "a label of the list is no text")
        labels = [item.strip() for item in raw if item.strip()]
        text = f"{separator} ".join(labels)
    else:
        text = _text(raw)
        labels = split_labels(text, separator, known)
    if [label.lower() for label in labels] == ["none"] and "none" not in {k.lower() for k in known}:
        labels = []  # FLARE writes the legitimate empty set both ways
    if not labels:
        return Typed(text, labels=[])
    return Typed(f"{separator} ".join(labels), labels=labels)


def misfit(labels: list[str], options: Options, choices: Choices) -> str | None:
    """The first label that is no option's letter or text and none of the choices; None if all fit."""
    allowed = _allowed(options, choices)
    return next((label for label in labels if label.lower() not in allowed), None) if allowed else None


@lru_cache(maxsize=KEPT)
def _allowed(options: Options, choices: Choices) -> frozenset[str]:
    """What a label may be, in lower case."""
    allowed = {choice.lower() for choice in choices or ()}
    for letter, text in options:
        lettered = (f"{letter}{mark}" for mark in ").:")
        allowed |= {letter.lower(), text.lower()}
        allowed |= {form.lower() for start in lettered for form in (start, f"{start} {text}")}
    return frozenset(allowed)


def _number(raw: object) -> tuple[float, bool]:
    """The value and whether it is written with a percent sign."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise BadAnswer("wrong_answer_type", f"expected a number, found {type(raw).__name__}")
    percent = False
    if isinstance(raw, str):
        # float() would read "1_000", full-width digits and "nan"
        found = _NUMBER.match(raw.strip())
        if found is None:
            raise BadAnswer("invalid_number", f"{raw.strip()[:60]!r} is no number")
        percent = found.group(1) is not None
        value = float(raw.strip().removesuffix("%").strip())
    else:
        if isinstance(raw, int) and abs(raw) >= _COUNT_LIMIT:
            raise BadAnswer("invalid_number", "the number has more than 15 digits")
        value = float(raw)
    if not math.isfinite(value):
        raise BadAnswer("invalid_number", f"{value} is not finite")
    return value, percent


def _count(raw: object) -> Typed:
    value, percent = _number(raw)
    if percent or not value.is_integer() or not 0 <= value < _COUNT_LIMIT:
        raise BadAnswer("invalid_number", f"{raw!r} is no count")
    return Typed(str(int(value)), number=value)


def _measure(raw: object, percent: bool) -> Typed:
    value, _ = _number(raw)
    return Typed(f"{value!r}%" if percent else repr(value), number=value)


def has_percent(raw: object) -> bool:
    """Whether a regression answer is written as a percentage."""
    try:
        return isinstance(raw, str) and _number(raw)[1]
    except BadAnswer:
        return False


def _parsed(raw: object) -> object:
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise BadAnswer("wrong_answer_type", f"{raw.strip()[:60]!r} is no JSON") from None


def _box(raw: object, convention: Convention) -> Corners:
    numbers = isinstance(raw, list) and all(isinstance(v, int | float) and not isinstance(v, bool) for v in raw)
    if not numbers or len(raw) != 4:
        raise BadAnswer("invalid_box", f"{_short(raw)} is not four numbers")
    if not all(abs(v) < 1e9 for v in raw):  # NaN compares false: it ends here too
        raise BadAnswer("invalid_box", f"{_short(raw)} holds a number that is not finite or absurd")
    return to_corners(raw, convention)


def _short(raw: object) -> str:
    try:
        return json.dumps(raw, ensure_ascii=True)[:80]
    except (RecursionError, ValueError):
        return "a deeply nested value"


def box_list(raw: object) -> list:
    """The boxes of a detection answer: a list of boxes, one bare box, or JSON of these in a string.

    Raises:
        BadAnswer: it is none of them.
    """
    value = _parsed(raw)
    if not isinstance(value, list):
        raise BadAnswer("wrong_answer_type", f"expected a list of boxes, found {type(value).__name__}")
    if value and not any(isinstance(item, list) for item in value):
        return [value]
    return value


def instance_lists(raw: object) -> dict[str, list]:
    """The boxes of an instance answer by identity; a bare box counts as a list of one.

    Raises:
        BadAnswer: it is no JSON object of lists.
    """
    value = _parsed(raw)
    if not isinstance(value, dict):
        raise BadAnswer("wrong_answer_type", f"expected an object of boxes by class, found {type(value).__name__}")
    found = {}
    for identity, boxes in value.items():
        if not isinstance(boxes, list):
            raise BadAnswer("wrong_answer_type", f"class {identity[:20]!r} holds no list of boxes")
        found[identity.strip()] = boxes if any(isinstance(b, list) for b in boxes) or not boxes else [boxes]
    return found


def _boxes(raw: object, convention: Convention) -> Typed:
    corners = [_box(box, convention) for box in box_list(raw)]
    return typed_boxes(corners, convention)


def _instances(raw: object, convention: Convention) -> Typed:
    instances = [(k, _box(b, convention)) for k, boxes in instance_lists(raw).items() for b in boxes]
    return typed_instances(instances, convention)


def typed_boxes(corners: list[Corners], convention: Convention) -> Typed:
    """A detection answer from corners."""
    text = json.dumps([from_corners(box, convention) for box in corners])
    return Typed(text, boxes=corners, convention=convention)


def typed_instances(instances: list[tuple[str, Corners]], convention: Convention) -> Typed:
    """An instance answer from identities and corners; identities in the order of their first box."""
    found: dict[str, list] = {}
    for identity, box in instances:
        found.setdefault(identity, []).append(from_corners(box, convention))
    return Typed(json.dumps(found), instances=instances, convention=convention)


def bad_box(corners: Corners, width: int, height: int) -> str | None:
    """Why a box cannot lie in a picture of `width` × `height` pixels; None if it can."""
    x1, y1, x2, y2 = corners
    shown = [whole(v) for v in corners]
    if x2 <= x1 or y2 <= y1:
        return f"the box with corners {shown} is empty"
    if x1 < 0 or y1 < 0 or x2 > width or y2 > height:
        return f"the box with corners {shown} leaves the picture of {width} × {height}"
    return None


def mended_box(corners: Corners, width: int, height: int) -> Corners | None:
    """The box with its corners in order and cut to the picture; None if nothing is left of it."""
    x1, x2 = sorted((corners[0], corners[2]))
    y1, y2 = sorted((corners[1], corners[3]))
    box = (max(x1, 0), max(y1, 0), min(x2, width), min(y2, height))
    return box if box[0] < box[2] and box[1] < box[3] else None
