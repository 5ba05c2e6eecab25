"""Answers in a model's own form of boxes: read, and carried back to the row's.

What a model wrote stays beside what it is carried to, see `core.rows.Prediction`. The strict reader takes the form that
the prompt asks for and nothing else, special tokens around classes and boxes aside: such an answer becomes one in
exactly the row's form. Of any other, the boxes alone are written anew, so that it is read leniently and no better than
it is.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import NamedTuple

from workflow_scripts.core.answers import Corners, final_answer
from workflow_scripts.core.rows import Box, Instance, Prediction, Row
from workflow_scripts.tasks.boxes.conventions import Number, whole
from workflow_scripts.tasks.boxes.formats import convention_of
from workflow_scripts.tasks.boxes.model_conventions import from_model
from workflow_scripts.tasks.boxes.model_questions import BY_CLASS, KEYS, NOTHING, asks_for_boxes, size_of
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes
from workflow_scripts.tasks.boxes.parsing import box_fault, boxes_text, instances_text, strict_json
from workflow_scripts.tasks.language.text import EMPTY_ANSWER, LONGEST

MOST = 2000
"""Boxes of an answer that are looked at."""

_DIGITS = r"-?[0-9]{1,9}(?:\.[0-9]{1,20})?"
_A, _B, _C, _D = (rf"\s*(?P<{name}>{_DIGITS})\s*" for name in "abcd")
_QUAD = rf"\[{_A},{_B},{_C},{_D}\]"
_CORNERS = rf"\({_A},{_B}\)\s*,?\s*\({_C},{_D}\)"
_LOCATIONS = r"\s*".join(rf"<loc(?P<{name}>[0-9]{{4}})>" for name in "abcd")
_LABEL = r"(?P<label>[^<>()\[\];\n]{0,80}?)"
_TAG = re.compile(r"<\|?(?P<shut>/?)(?P<name>ref|box)\|?>")
_KEYED = re.compile(rf"(?:[\"']?\b(?:box_2d|bbox_2d|bbox|box)[\"']?\s*:\s*)?{_QUAD}", re.ASCII | re.IGNORECASE)
_PAIRS = re.compile(_CORNERS, re.ASCII)
_LOCATED = re.compile(rf"{_LOCATIONS}\s*(?P<label>[^<;\n]{{0,80}})", re.ASCII)
_LISTED = re.compile(_QUAD, re.ASCII)
_LISTS = re.compile(rf"\s*{_LABEL}\s*\[(?P<boxes>\s*\[[^\[\]]*\]\s*(?:,\s*\[[^\[\]]*\]\s*)*)\]\s*", re.ASCII)
_PAIR_LINE = re.compile(rf"\s*{_LABEL}\s*{_CORNERS}\s*", re.ASCII)
_LOCATED_ENTRY = re.compile(rf"\s*{_LOCATIONS}\s*(?P<label>[^<;\n]{{0,80}}?)\s*", re.ASCII)


class Unreadable(Exception):
    """An answer is not what the convention asks for; the text says why."""


class ModelBox(NamedTuple):
    """A box as corners in pixels of the image, and the class that is written with it, if any."""

    corners: Corners
    label: str | None


class Replaced(NamedTuple):
    """A text whose boxes are written anew, and how many these are."""

    text: str
    boxes: int


def read_strict(text: str, form: ModelBoxes, width: int, height: int, *, by_class: bool) -> list[ModelBox]:
    """The boxes of an answer in exactly the model's form.

    Raises:
        Unreadable: it is in another form.
    """
    text = _TAG.sub("", text).strip()
    if text == NOTHING.get(form.convention, "none"):
        return []
    if form.convention in KEYS:
        entries = _json_entries(text, KEYS[form.convention])
    elif form.convention == "paligemma":
        entries = [_entry(_LOCATED_ENTRY, part, "four location tokens") for part in text.split(";")]
    elif form.convention == "chexagent":
        entries = [_entry(_PAIR_LINE, line, "(x0,y0),(x1,y1)") for line in text.splitlines()]
    else:
        entries = _list_entries(text)
    if not entries:
        raise Unreadable("no boxes, and nothing that says so")
    for place, (_, label) in enumerate(entries, 1):
        if by_class and not label:
            raise Unreadable(f"box {place} has no class")
    return [ModelBox(from_model(four, form, width, height), label or None) for four, label in entries]


def _json_entries(text: str, key: str) -> list[tuple[Sequence[Number], str | None]]:
    value = strict_json(text)
    if not isinstance(value, list):
        raise Unreadable(f'no JSON list of {{"{key}": [...]}}')
    entries: list[tuple[Sequence[Number], str | None]] = []
    for place, entry in enumerate(value, 1):
        box = entry.get(key) if isinstance(entry, dict) else None
        if not isinstance(entry, dict) or box is None:
            raise Unreadable(f"entry {place} has no {key}")
        if fault := box_fault(box):
            raise Unreadable(f"entry {place}: {fault}")
        label = entry.get("label")
        entries.append((box, str(label).strip() if isinstance(label, str | int) else None))
    return entries


def _entry(pattern: re.Pattern[str], part: str, form: str) -> tuple[Sequence[Number], str | None]:
    match = pattern.fullmatch(part)
    if match is None:
        raise Unreadable(f"{part.strip()[:40]!r} is not {form}")
    return _numbers(match), match["label"].strip()


def _list_entries(text: str) -> list[tuple[Sequence[Number], str | None]]:
    entries: list[tuple[Sequence[Number], str | None]] = []
    position = 0
    while position < len(text):
        match = _LISTS.match(text, position)
        boxes = list(_LISTED.finditer(match["boxes"])) if match else []
        if match is None or len(boxes) < match["boxes"].count("["):
            raise Unreadable(f"{text[position : position + 40].strip()!r} is not [[x1, y1, x2, y2], ...]")
        entries += [(_numbers(box), match["label"].strip()) for box in boxes]
        position = match.end()
    return entries


def _numbers(match: re.Match[str]) -> list[Number]:
    """The four numbers of a box."""
    return [float(match[name]) if "." in match[name] else int(match[name]) for name in "abcd"]


def in_pixels(text: str, form: ModelBoxes, width: int, height: int) -> Replaced:
    """A text with each box in the model's numbers written anew as `"bbox_2d": [x1, y1, x2, y2]` in pixels.

    All else stays as it is, so that the readers of texts see what is said of a box, its class among it.
    """
    text = _TAG.sub(lambda tag: "\n" if tag["name"] == "ref" and not tag["shut"] else "", text)
    pattern = {"paligemma": _LOCATED, "chexagent": _PAIRS}.get(form.convention, _KEYED)
    parts: list[str] = []
    position = 0
    for match in islice(pattern.finditer(text), MOST):
        corners = [whole(edge) for edge in from_model(_numbers(match), form, width, height)]
        box = f'"bbox_2d": {json.dumps(corners)}'
        if form.convention == "paligemma":
            label = match["label"].strip()
            box = f'{{{box}, "label": {json.dumps(label)}}}' if label else f"{{{box}}}"
        elif form.convention == "chexagent":
            box = f"[{box}]"
        parts += [text[position : match.start()], box]
        position = match.end()
    return Replaced("".join([*parts, text[position:]]), len(parts) // 2)


class Carried(NamedTuple):
    """An answer in the row's convention, or as it is with the reason why it could not be carried there."""

    text: str
    fault: str | None = None


def carried_back(row: Row, text: str, boxes: ModelBoxes) -> Carried:
    """A model's answer to a row, without its thoughts, in the row's convention.

    Raises:
        BadFile: a row of boxes does not say the size of its image.
    """
    final = final_answer(text)
    if final.unfinished:
        return Carried(text, "the thought before the answer never ends")
    if len(final.text) > LONGEST:
        return Carried(text, f"the answer is longer than {LONGEST:,} characters")
    size, by_class = size_of(row), row.task in BY_CLASS
    try:
        read = read_strict(final.text, boxes, *size, by_class=by_class)
    except Unreadable as error:
        replaced = in_pixels(final.text, boxes, *size)
        if replaced.boxes or EMPTY_ANSWER.match(final.text.strip()):
            return Carried(replaced.text)
        return Carried(text, str(error))
    convention = convention_of(row.expected)
    if by_class:
        instances = [Instance(box.label or "", Box(*box.corners)) for box in read]
        return Carried(instances_text(instances, convention))
    return Carried(boxes_text([Box(*box.corners) for box in read], convention))


def in_the_rows_form(row: Row, text: str, boxes: ModelBoxes | None) -> str:
    """A model's answer to a row as its readers take it; what cannot be carried back stays as it is."""
    return text if boxes is None or not asks_for_boxes(row) else carried_back(row, text, boxes).text


def carried_prediction(row: Row, prediction: Prediction, boxes: ModelBoxes) -> Prediction:
    """A prediction with its text in the row's convention and the model's own beside it; others stay as they are."""
    if not asks_for_boxes(row):
        return prediction
    carried = carried_back(row, prediction.text, boxes)
    return replace(prediction, text=carried.text, raw_text=prediction.text, box_fault=carried.fault)
