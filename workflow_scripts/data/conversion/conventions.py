"""How a data set writes its answers, resolved once over all its rows: separator, percentage, box convention."""

from collections import Counter
from collections.abc import Iterable

from workflow_scripts.core.boxes import Convention
from workflow_scripts.core.tasks import Task, normalise_task
from workflow_scripts.tasks.answers import BadAnswer, Customs, box_list, has_percent, instance_lists
from workflow_scripts.tasks.questions import convention_in, separator_in

BY_TASK: dict[str, Convention] = {"detection": "xyxy", "instance_detection": "xywh"}
"""Where neither the questions nor the boxes tell: FLARE 2026's detection, and its chromosomes."""


def resolve_customs(rows: Iterable[object], overrides: dict[str, Convention], dataset: str) -> dict[Task, Customs]:
    """The customs of each task in one data set.

    The separator is `;` if any question names it or any answer holds one, otherwise `,`. Percentages are kept if
    any answer has one. The convention is the configuration's; else the one that most questions name; else `xywh`
    if more than a tenth of the boxes are none in corners; else the task's usual one.

    Args:
        rows: raw records of all the data set's question files.
        overrides: conventions that the configuration gives, by data set.
        dataset: the data set's name.
    """
    by_task: dict[Task, list[dict]] = {}
    for row in rows:
        task = normalise_task(row.get("TaskType")) if isinstance(row, dict) else None
        if task is not None:
            by_task.setdefault(task, []).append(row)
    return {task: _customs(task, found, overrides.get(dataset)) for task, found in by_task.items()}


def _customs(task: Task, rows: list[dict], override: Convention | None) -> Customs:
    if task == "multi_label":
        return Customs(separator=";" if any(_semicolon(row) for row in rows) else ",")
    if task == "regression":
        return Customs(percent=any(has_percent(row.get("Answer")) for row in rows))
    if task in BY_TASK:
        return Customs(convention=override or _convention(task, rows))
    return Customs()


def _semicolon(row: dict) -> bool:
    question, answer = row.get("Question"), row.get("Answer")
    if isinstance(answer, list):
        return any(isinstance(item, str) and "," in item for item in answer)
    if isinstance(answer, str) and ";" in answer:
        return True
    return isinstance(question, str) and separator_in(question) == ";"


def _convention(task: Task, rows: list[dict]) -> Convention:
    named = Counter(convention_in(row["Question"]) for row in rows if isinstance(row.get("Question"), str))
    del named[None]
    if named:
        return max(sorted(named), key=lambda convention: named[convention])
    boxes: list[object] = []
    for row in rows:
        try:
            raw = row.get("Answer")
            boxes += box_list(raw) if task == "detection" else [b for bs in instance_lists(raw).values() for b in bs]
        except BadAnswer:
            continue
    # A tenth: a few boxes are wrong in any data set, under either convention.
    return "xywh" if sum(map(_no_corners, boxes)) > len(boxes) / 10 else BY_TASK[task]


def _no_corners(box: object) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(v, int | float) for v in box)
        and (box[2] <= box[0] or box[3] <= box[1])
        and box[2] > 0
        and box[3] > 0
    )
