"""Ways to answer without looking at a picture. A rule summarises training rows of one task, then answers rows of it.

Boxes are written in the convention that the asked row names.
"""

import json
import statistics
from collections import Counter
from collections.abc import Callable

from workflow_scripts.core.boxes import from_corners

Answer = Callable[[dict], str]
"""From a row that asks to the text of an answer."""

NORMAL_REPORT = "No acute cardiopulmonary abnormality."
"""The commonest impression of normal chest films in IU X-ray's style."""


def majority(rows: list[dict]) -> Answer:
    """The usual answer: median of numbers, median box, commonest text. Ties go to the text that sorts first."""
    task = rows[0]["task"]
    if task in ("counting", "regression"):
        return _always(_median_number(rows))
    if task == "detection":
        boxes = [box for row in rows for box in row["boxes"]]
        usual = [_median_box(boxes)] if boxes else []
        return lambda asked: boxes_text(usual, asked["convention"])
    if task == "instance_detection":
        by_identity: dict[str, list[dict]] = {}
        for instance in (instance for row in rows for instance in row["instances"]):
            by_identity.setdefault(instance["identity"], []).append(instance["box"])
        usual = [
            {"identity": name, "box": _median_box(boxes)}
            for name, boxes in sorted(by_identity.items())
            if len(boxes) * 2 >= len(rows)
        ]
        return lambda asked: instances_text(usual, asked["convention"])
    counted = Counter(row["answer"] for row in rows)
    return _always(min(counted, key=lambda answer: (-counted[answer], answer)))


def empty(rows: list[dict]) -> Answer:
    """Nothing: no label, no box, no text. A letter and a number cannot be empty: there it is the usual answer."""
    nothing = {"multi_label": "None", "detection": "[]", "instance_detection": "{}", "report": ""}
    task = rows[0]["task"]
    return _always(nothing[task]) if task in nothing else majority(rows)


def constant(rows: list[dict]) -> Answer:
    """The whole picture as the box (of each usual identity), one normal report; otherwise the usual answer."""
    task = rows[0]["task"]
    usual = majority(rows)
    if task == "detection":
        return lambda asked: boxes_text([_whole_image(asked)], asked["convention"])
    if task == "instance_detection":
        return lambda asked: instances_text(
            [{"identity": name, "box": _whole_image(asked)} for name in json.loads(usual(asked))], asked["convention"]
        )
    return _always(NORMAL_REPORT) if task == "report" else usual


def boxes_text(boxes: list[dict], convention: str) -> str:
    """The answer of a detection row."""
    return json.dumps([_numbers(box, convention) for box in boxes])


def instances_text(instances: list[dict], convention: str) -> str:
    """The answer of an instance detection row."""
    found: dict[str, list] = {}
    for instance in instances:
        found.setdefault(instance["identity"], []).append(_numbers(instance["box"], convention))
    return json.dumps(found)


def _numbers(box: dict, convention: str) -> list:
    return from_corners((box["x1"], box["y1"], box["x2"], box["y2"]), convention)


def _always(text: str) -> Answer:
    return lambda asked: text


def _median_number(rows: list[dict]) -> str:
    middle = statistics.median(row["number"] for row in rows)
    percent = "%" if sum(row["answer"].endswith("%") for row in rows) * 2 > len(rows) else ""
    return (f"{round(middle)}" if rows[0]["task"] == "counting" else f"{middle:g}") + percent


def _median_box(boxes: list[dict]) -> dict:
    return {edge: round(statistics.median(box[edge] for box in boxes)) for edge in ("x1", "y1", "x2", "y2")}


def _whole_image(row: dict) -> dict:
    first = row["images"][0]
    return {"x1": 0, "y1": 0, "x2": first["width"], "y2": first["height"]}
