"""What an audit says of converted rows: findings row by row, a summary and the balance of labels by data set."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import median

from workflow_scripts.core.tables import has_answer
from workflow_scripts.data.case_groups import ties

COLUMNS = (
    "uid", "dataset", "folder", "task", "case_id", "question", "images", "answer", "labels", "number", "boxes",
    "notes", "source_file", "source_row",
)  # fmt: skip
"""Columns of `core.tables.ROWS` that an audit needs."""

ORDER = ("training", "validation-public", "validation-hidden", "testing")
"""A leak is told of the earlier folder's row: that is the one to leave out."""

LARGER = (("fetal head", "pubic symphysis"),)
"""Structures of which the first is always the larger; iugc's boxes look swapped where it is not."""

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")


def approximate_tokens(text: str) -> int:
    """Words, single digits and signs of `text`: near what Gemma's tokenizer makes of an answer."""
    return sum(1 for _ in _PIECES.finditer(text))


def findings(rows: Sequence[dict], quarantine: Sequence[dict]) -> list[dict]:
    """Everything found, as rows of `core.tables.AUDIT`, sorted by place."""
    found = [
        {
            "kind": entry["reason"],
            "action": "quarantined",
            **{key: entry[key] for key in ("dataset", "folder", "uid", "source_file", "source_row", "detail")},
        }
        for entry in quarantine
    ]
    for row in rows:
        for note in row["notes"]:
            kind, _, detail = note.partition(": ")
            found.append(_finding(row, kind, "repaired" if kind == "repaired" else "kept", detail))
    found += _leaks([row for row in rows if has_answer(row)])  # the others are neither trained on nor scored
    found += _swapped(rows)
    return sorted(
        found, key=lambda f: (f["source_file"], -1 if f["source_row"] is None else f["source_row"], f["kind"])
    )


def _finding(row: dict, kind: str, action: str, detail: str) -> dict:
    place = {key: row[key] for key in ("dataset", "folder", "uid", "source_file", "source_row")}
    return {"kind": kind, "action": action, **place, "detail": detail}


def _leaks(rows: Sequence[dict]) -> list[dict]:
    """Rows that share an image or a case with a later split folder."""
    last: dict[tuple[str, str], tuple[int, str]] = {}
    for row in rows:
        place = (ORDER.index(row["folder"]), row["uid"])
        for tie in ties(row):
            if place[0] > last.get(tie, (-1, ""))[0]:
                last[tie] = place
    found = []
    for row in rows:
        mine = ORDER.index(row["folder"])
        for tie in sorted(ties(row), reverse=True):  # the image before the case
            if last[tie][0] > mine:
                found.append(_finding(row, f"leaked_{tie[0]}", "left out", f"shared with {last[tie][1]}"))
                break
    return found


def _swapped(rows: Sequence[dict]) -> list[dict]:
    """Rows of one image in which the larger structure's box is the smaller one."""
    boxes: dict[tuple[str, str], list[dict]] = {}
    for row in rows:
        if row["task"] == "detection" and row["boxes"]:
            question = row["question"].lower()
            for structure in {name for pair in LARGER for name in pair}:
                if structure in question:
                    boxes.setdefault((row["images"][0]["sha256"], structure), []).append(row)
    found = []
    for (image, structure), heads in boxes.items():
        for large, small in LARGER:
            others = boxes.get((image, small), []) if structure == large else []
            for head in heads:
                for other in others:
                    if _area(head) < _area(other):
                        detail = f"the {large}'s box is smaller than the {small}'s"
                        found += [_finding(row, "swapped_boxes", "kept", detail) for row in (head, other)]
    return found


def _area(row: dict) -> float:
    return max((box["x2"] - box["x1"]) * (box["y2"] - box["y1"]) for box in row["boxes"])


def _by_task(rows: Sequence[dict]) -> dict[tuple[str, str, str], list[dict]]:
    groups: dict[tuple[str, str, str], list[dict]] = {}
    for row in rows:
        groups.setdefault((row["dataset"], row["folder"], row["task"]), []).append(row)
    return dict(sorted(groups.items()))


def balance(rows: Sequence[dict]) -> list[dict]:
    """Rows by label, as rows of `core.tables.BALANCE`; an empty label set is counted under the empty label."""
    counted = []
    for (dataset, folder, task), group in _by_task(rows).items():
        labels = Counter(
            label for row in group if row["labels"] is not None for label in (sorted(set(row["labels"])) or [""])
        )
        for label, number in sorted(labels.items(), key=lambda pair: (-pair[1], pair[0])):
            counted.append({"dataset": dataset, "folder": folder, "task": task, "label": label, "rows": number})
    return counted


def summary(rows: Sequence[dict], count_tokens: Callable[[str], int]) -> list[dict]:
    """Sizes, lengths and ranges by data set, folder and task, as rows of `core.tables.SUMMARY`."""
    tokens = lru_cache(maxsize=None)(count_tokens)  # questions repeat by the thousand
    told = []
    for (dataset, folder, task), group in _by_task(rows).items():
        labels = Counter(label for row in group if row["labels"] is not None for label in set(row["labels"]))
        numbers = [row["number"] for row in group if row["number"] is not None]
        answers = [tokens(row["answer"]) for row in group]
        told.append(
            {
                "dataset": dataset,
                "folder": folder,
                "task": task,
                "rows": len(group),
                "cases": len({row["case_id"] for row in group}),
                "images": len({image["sha256"] for row in group for image in row["images"]}),
                "images_a_row": max(len(row["images"]) for row in group),
                "question_tokens": float(median(tokens(row["question"]) for row in group)),
                "answer_tokens": float(median(answers)),
                "longest_answer": max(answers),
                "classes": len(labels) if labels else None,
                "largest_class": max(labels.values()) / len(group) if labels else None,
                "least": min(numbers) if numbers else None,
                "median": median(numbers) if numbers else None,
                "greatest": max(numbers) if numbers else None,
            }
        )
    return told
