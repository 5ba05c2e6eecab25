"""What a row asks for and what it holds as its answer: the readers' view of a row of a split."""

from dataclasses import dataclass

from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tasks import Task

Box = list[float]
"""Corners `[x1, y1, x2, y2]` in pixels of the original image."""
Value = str | list[str] | list[Box] | dict[str, list[Box]] | float
"""An answer that was read; its form follows from the task."""


@dataclass(frozen=True)
class Asked:
    """The form of answer that a question asks for."""

    task: Task
    letters: tuple[str, ...] = ()  # of the options, upper case; empty where the question lists none
    words: tuple[str, ...] = ()  # the options' texts, or the answers that the data set gives to this question
    by_letter: bool = True  # a letter is asked for, not the option's words
    choices: tuple[str, ...] = ()  # admissible labels; empty where the question names none
    separator: str = ","  # of labels
    convention: str = "xyxy"  # of boxes in the answer: corners (xyxy) or corner and size (xywh)


def squeezed(text: str) -> str:
    """`text` in lower case with single spaces: the form in which words are compared."""
    return " ".join(text.split()).casefold()


def asked_of(row: dict, words: tuple[str, ...] = ()) -> Asked:
    """The form that a row of a split asks for; `words` are used where the question lists no options."""
    options = row["options"] or []
    letters = tuple(option["letter"].upper() for option in options)
    answer = row["answer"].strip()
    return Asked(
        task=row["task"],
        letters=letters,
        words=tuple(option["text"] for option in options) or words,
        by_letter=len(answer) == 1 and answer.isalpha(),
        choices=tuple(row["choices"] or ()),
        separator=row["separator"] or ",",
        convention=row["convention"] or "xyxy",
    )


def words_by_question(rows: list[dict]) -> dict[tuple[str, str], tuple[str, ...]]:
    """The distinct answers of each classification question, by data set and question."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if row["task"] == "classification":
            found.setdefault((row["dataset"], squeezed(row["question"])), set()).add(row["answer"].strip())
    return {key: tuple(sorted(answers)) for key, answers in found.items()}


def corners(box: dict) -> Box:
    """A box of a table as a list of corners."""
    return [box["x1"], box["y1"], box["x2"], box["y2"]]


def gold_of(row: dict) -> Value:
    """The reference answer of a row in the form that the readers return.

    Raises:
        BadFile: the row's typed answer is missing.
    """
    task: Task = row["task"]
    if task == "classification":
        answer = row["answer"].strip()
        return answer.upper() if len(answer) == 1 and answer.isalpha() else answer
    if task == "report":
        return row["answer"].strip()
    column = {"multi_label": "labels", "detection": "boxes", "instance_detection": "instances"}.get(task, "number")
    if row[column] is None:
        raise BadFile(f"row {row['uid']}: a {task} row needs its {column!r}; convert the data again")
    if task == "multi_label":
        return list(row["labels"])
    if task == "detection":
        return [corners(box) for box in row["boxes"]]
    if task == "instance_detection":
        found: dict[str, list[Box]] = {}
        for instance in row["instances"]:
            found.setdefault(instance["identity"].strip().casefold(), []).append(corners(instance["box"]))
        return found
    return row["number"]
