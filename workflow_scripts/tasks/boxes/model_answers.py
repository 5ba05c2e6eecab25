"""Answers of rows as training shows them to a model that writes boxes in a form of its own.

Special tokens around classes and boxes are left out, as decoding drops them.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace

from workflow_scripts.core.rows import Box, Row
from workflow_scripts.tasks.boxes.conventions import Number
from workflow_scripts.tasks.boxes.model_conventions import to_model
from workflow_scripts.tasks.boxes.model_questions import KEYS, NOTHING, asks_for_boxes, question_for, size_of
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes


def model_text(boxes: Iterable[tuple[Sequence[Number], str | None]], form: ModelBoxes, width: int, height: int) -> str:
    """The answer that training shows: boxes as corners in pixels, with their class or None, in the model's form."""
    numbers = [(to_model(corners, form, width, height), label) for corners, label in boxes]
    if not numbers:
        return NOTHING.get(form.convention, "none")
    if (key := KEYS.get(form.convention)) is not None:
        return json.dumps([{key: four} | ({} if label is None else {"label": label}) for four, label in numbers])
    if form.convention == "paligemma":
        tokens = [("".join(f"<loc{number:04d}>" for number in four), label) for four, label in numbers]
        return " ; ".join(box if label is None else f"{box} {label}" for box, label in tokens)
    if form.convention == "chexagent":
        pairs = [("({},{}),({},{})".format(*four), label) for four, label in numbers]
        return "\n".join(box if label is None else f"{label} {box}" for box, label in pairs)
    by_label: dict[str, list[list[int]]] = {}
    for four, label in numbers:
        by_label.setdefault(label or "", []).append(four)
    return "\n".join(f"{label}{json.dumps(fours)}" for label, fours in by_label.items())


def answer_for(row: Row, boxes: ModelBoxes | None) -> str:
    """The answer of a row as training shows it; the row's own, where no boxes are or the dataset's form holds.

    Raises:
        BadFile: a row of boxes does not say the size of its image.
    """
    if boxes is None or not asks_for_boxes(row):
        return row.answer
    places: list[tuple[Box, str | None]] = (
        [(instance.box, instance.identity) for instance in row.instances]
        if row.instances is not None
        else [(box, None) for box in row.boxes or ()]
    )
    return model_text(places, boxes, *size_of(row))


def native_row(row: Row, boxes: ModelBoxes | None) -> Row:
    """A row as a model learns it: question and answer in its own form of boxes; other rows stay as they are."""
    if boxes is None or not asks_for_boxes(row):
        return row
    return replace(row, question=question_for(row, boxes), answer=answer_for(row, boxes))
