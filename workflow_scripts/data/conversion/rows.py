"""From raw records to typed rows: one data set's folder at a time, every row kept or put into quarantine."""

import json
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from workflow_scripts.core.config.datasets import Policies
from workflow_scripts.core.tables import has_answer
from workflow_scripts.core.tasks import Task, normalise_task
from workflow_scripts.data.conversion.cases import case_of
from workflow_scripts.data.conversion.images import Index, Probe
from workflow_scripts.data.conversion.question_files import QuestionFile, is_unicode, record_text
from workflow_scripts.tasks.answers import (
    BadAnswer,
    Customs,
    Typed,
    bad_box,
    mended_box,
    misfit,
    read_answer,
    typed_boxes,
    typed_instances,
)
from workflow_scripts.tasks.questions import choices_in, convention_in, options_in


class Unfit(Exception):
    """A row cannot be used; `reason` is one of `data.conversion.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass
class Part:
    """The rows of one data set in one split folder, before and after."""

    files: dict[QuestionFile, list[object]]
    kept: list[dict] = field(default_factory=list)
    quarantined: list[dict] = field(default_factory=list)


def quarantine_entry(
    file: QuestionFile, row: int | None, reason: str, detail: str, record: str, images: list[str]
) -> dict:
    """A row of the quarantine table; `row` is None for a file as a whole."""
    return {
        "source_file": file.path,
        "source_row": row,
        "dataset": file.dataset,
        "reason": reason,
        "detail": detail.encode("utf-8", "backslashreplace").decode("utf-8")[:500],
        "record": record,
        "uid": None if row is None else file.uid(row),
        "folder": file.folder,
        "images": images,
    }


def named_images(record: object) -> list[str]:
    """The image names of a raw record; empty where it names none that can be read as such."""
    names = record.get("ImageName") if isinstance(record, dict) else None
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        return []
    return names


def found_images(names: Iterable[str], index: Index) -> list[str]:
    """Paths of those `names` that mean exactly one picture."""
    return [found[0] for found in map(index.find, names) if len(found) == 1]


def build_part(
    part: Part, index: Index, probes: dict[str, Probe], customs: dict[Task, Customs], policies: Policies
) -> None:
    """Fill `part.kept` and `part.quarantined` so that each raw row is in exactly one of them."""
    patterns = {dataset: re.compile(pattern) for dataset, pattern in policies.cases.items()}
    answered = _answered_keys(part)
    entries: list[tuple[QuestionFile, int, object, dict | Unfit]] = []
    for file, records in part.files.items():
        for number, record in enumerate(records):
            try:
                key = _key(record)
                if key is not None and key in answered.get(file.path, ()):
                    raise Unfit("superseded", "the file with answers holds the row")
                row = _row(file, number, record, index, probes, customs, policies, patterns.get(file.dataset))
                entries.append((file, number, record, row))
            except (Unfit, BadAnswer) as error:
                entries.append((file, number, record, Unfit(error.reason, str(error))))
    rows = [row for _, _, _, row in entries if isinstance(row, dict)]
    unfit = _among_each_other(rows, policies)
    for file, number, record, row in entries:
        fault = row if isinstance(row, Unfit) else unfit.get(row["uid"])
        if fault is None:
            part.kept.append(row)
        else:
            images = found_images(named_images(record), index)
            part.quarantined.append(
                quarantine_entry(file, number, fault.reason, str(fault), record_text(record), images)
            )


def _key(record: object) -> str | None:
    """FLARE's join key of a record: `str(ImageName)||Question`."""
    if not isinstance(record, dict) or not named_images(record) or not isinstance(record.get("Question"), str):
        return None
    return f"{record['ImageName']}||{record['Question']}"


def _answered_keys(part: Part) -> dict[str, set[str]]:
    """Keys of the rows with answers, by the path of the file that lacks them."""
    return {
        file.answers_for: {key for key in map(_key, records) if key is not None}
        for file, records in part.files.items()
        if file.answers_for is not None
    }


def _row(
    file: QuestionFile,
    number: int,
    record: object,
    index: Index,
    probes: dict[str, Probe],
    customs: dict[Task, Customs],
    policies: Policies,
    pattern: re.Pattern | None,
) -> dict:
    """One typed row, checked on its own.

    Raises:
        Unfit, BadAnswer: it cannot be used.
    """
    if not isinstance(record, dict):
        raise Unfit("not_an_object", f"the row is {type(record).__name__}")
    if not is_unicode(record):
        raise Unfit("bad_text", "half a surrogate pair")
    task = normalise_task(record.get("TaskType"))
    if task is None:
        raise Unfit("unknown_task", f"TaskType is {record_text(record.get('TaskType'))[:80]}")
    question = record.get("Question")
    if not isinstance(question, str) or not question.strip():
        raise Unfit("no_question", f"Question is {record_text(question)[:80]}")
    notes: list[str] = []
    paths = _images(record, index, policies, notes)
    for path in paths:
        if probes[path].fault:
            raise Unfit("unreadable_image", probes[path].fault or "")
    custom = customs[task]
    convention = policies.conventions.get(file.dataset) or convention_in(question) or custom.convention
    options, choices = options_in(question), choices_in(question) if task == "multi_label" else None
    customs_here = Customs(custom.separator, custom.percent, convention)
    typed = _answer(task, record.get("Answer"), options, choices, customs_here, policies, notes)
    first = probes[paths[0]]
    typed = _checked(task, typed, options, choices, (first.width, first.height), policies, notes)
    return {
        "uid": file.uid(number),
        "dataset": file.dataset,
        "modality": file.modality,
        "folder": file.folder,
        "task": task,
        "task_raw": record["TaskType"],
        "case_id": case_of(file.dataset, file.folder, paths[0], pattern),
        "question": question,
        "options": [{"letter": letter, "text": text} for letter, text in options] or None,
        "choices": choices,
        "separator": custom.separator if task == "multi_label" else None,
        "images": [
            {"path": path, "sha256": probes[path].sha256, "width": probes[path].width, "height": probes[path].height}
            for path in paths
        ],
        "image_name": json.dumps(record["ImageName"], ensure_ascii=False),
        "answer": typed.answer,
        "answer_raw": json.dumps(record.get("Answer"), ensure_ascii=False),
        "labels": typed.labels,
        "number": typed.number,
        "boxes": None if typed.boxes is None else [_box(box) for box in typed.boxes],
        "instances": None
        if typed.instances is None
        else [{"identity": identity, "box": _box(box)} for identity, box in typed.instances],
        "convention": typed.convention,
        "source_file": file.path,
        "source_row": number,
        "notes": notes,
    }


def _box(corners: tuple) -> dict:
    return dict(zip(("x1", "y1", "x2", "y2"), map(float, corners), strict=True))


def _images(record: dict, index: Index, policies: Policies, notes: list[str]) -> list[str]:
    names = named_images(record)
    if not names:
        raise Unfit("no_image_named", f"ImageName is {record_text(record.get('ImageName'))[:80]}")
    paths, missing = [], []
    for name in names:
        found = index.find(name)
        if len(found) > 1:
            raise Unfit("ambiguous_image", f"{name} may be {' or '.join(found[:3])}")
        paths += found
        missing += [] if found else [name]
    if missing and (policies.missing_image == "quarantine" or not paths):
        beside = "".join(f"; {path} is no readable zip" for path in index.bad_archives)
        raise Unfit("missing_image", f"{', '.join(missing[:3])} is not in the tree{beside}")
    notes += [f"repaired: {name} is missing and left out" for name in missing]
    return paths


def _answer(task: Task, raw: object, options, choices, customs: Customs, policies: Policies, notes: list[str]) -> Typed:
    """The typed answer; an empty one, noted, where there is none and the policy keeps such rows."""
    try:
        return read_answer(task, raw, options, choices, customs)
    except BadAnswer as error:
        if error.reason != "no_answer" or policies.no_answer == "quarantine":
            raise
        notes.append(f"kept_defect: no_answer: {error}")
        boxed = task in ("detection", "instance_detection")
        return Typed("", convention=customs.convention if boxed else None)


def _checked(
    task, typed: Typed, options, choices, size: tuple[int, int], policies: Policies, notes: list[str]
) -> Typed:
    """`typed` if it fits the question and the picture, repaired or noted where a policy says so."""
    if typed.labels:
        wrong = misfit(typed.labels, options, choices)
        if wrong is not None:
            if policies.answer_not_an_option == "quarantine":
                raise Unfit("answer_not_an_option", f"{wrong!r} is none of the question's options")
            notes.append(f"kept_defect: {wrong!r} is none of the question's options")
    named = typed.instances if typed.instances is not None else [("", box) for box in typed.boxes or ()]
    faults = [fault for _, box in named if (fault := bad_box(box, *size))]
    if not faults:
        return typed
    if policies.invalid_box == "quarantine":
        raise Unfit("invalid_box", faults[0])
    mended = [(identity, mended_box(box, *size)) for identity, box in named]
    if any(box is None for _, box in mended):
        raise Unfit("invalid_box", f"{faults[0]}; nothing is left of it in the picture")
    notes.append(f"repaired: {faults[0]}")
    if task == "detection":
        return typed_boxes([box for _, box in mended], typed.convention)
    return typed_instances(mended, typed.convention)


def _among_each_other(rows: list[dict], policies: Policies) -> dict[str, Unfit]:
    """Rows that do not go together with others of their part, by uid; notes for those that a policy keeps.

    Rows without an answer go together with any: each of them is to be answered.
    """
    rows = [row for row in rows if has_answer(row)]
    unfit: dict[str, Unfit] = {}

    def found(row: dict, reason: str, policy: str, detail: str) -> None:
        if policy == "quarantine":
            unfit[row["uid"]] = Unfit(reason, detail)
        else:
            row["notes"].append(f"kept_defect: {reason}: {detail}")

    for row, detail in _outliers(rows, policies.outlier_spread):
        found(row, "outlier", policies.outlier, detail)
    asked: dict[tuple, list[dict]] = {}
    for row in rows:
        if row["uid"] not in unfit:
            key = (row["task"], " ".join(row["question"].split()), *(image["sha256"] for image in row["images"]))
            asked.setdefault(key, []).append(row)
    for same in asked.values():
        if len(same) < 2:
            continue
        answers = Counter(row["answer"] for row in same)
        if len(answers) > 1 and same[0]["task"] != "report":
            for row in same:
                others = [r["uid"] for r in same if r["answer"] != row["answer"]]
                found(row, "contradiction", policies.contradiction, f"another answer is in {', '.join(others[:3])}")
            continue
        first: dict[str, str] = {}
        for row in same:
            earlier = first.setdefault(row["answer"], row["uid"])
            if earlier != row["uid"]:
                found(row, "duplicate", policies.duplicate, f"the same row is {earlier}")
    return unfit


def _outliers(rows: list[dict], spread: float) -> list[tuple[dict, str]]:
    """Regression rows beyond `spread` interquartile ranges from the quartiles; needs 20 values and a range."""
    by_question: dict[str, list[dict]] = {}
    for row in rows:
        if row["task"] == "regression":
            by_question.setdefault(" ".join(row["question"].split()), []).append(row)
    found = []
    for same in by_question.values():
        values = sorted(row["number"] for row in same)
        low, high = values[len(values) // 4], values[3 * len(values) // 4]
        reach = spread * (high - low)
        if len(values) >= 20 and reach > 0:
            for row in same:
                if not low - reach <= row["number"] <= high + reach:
                    found.append((row, f"{row['number']!r} beside quartiles {low!r} and {high!r}"))
    return found
