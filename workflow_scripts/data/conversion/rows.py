"""From raw records to typed rows: one subset's folder at a time, every record a row or in quarantine."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from workflow_scripts.core.answers import Answer, AnswersPart, BadAnswer, Conventions
from workflow_scripts.core.config.sources.entry import Policies
from workflow_scripts.core.rows import ExpectedFormat, Group, Image, QuarantinedRow, Row
from workflow_scripts.core.rubrics.stated import BadRubric, stated
from workflow_scripts.core.tasks import load_part, normalise_task, tasks
from workflow_scripts.data.conversion.cases import case_of
from workflow_scripts.data.conversion.images import Index
from workflow_scripts.data.conversion.probes import Probe
from workflow_scripts.data.conversion.question_files import DoubledKeys, QuestionFile, is_unicode, record_text
from workflow_scripts.data.conversion.reasons import REASONS

LONGEST_TEXT = 200_000
"""Characters of a question, and of the JSON of an answer, that a row may have."""

CASE = "/case/"
"""What begins a case that a record names: no subset's name is empty, so that no case of a subset begins so."""

LONGEST_DETAIL = 1000
"""Characters of what is wrong with a row: all reasons may be named in it."""

_ENCODER = json.JSONEncoder(ensure_ascii=False)

_Typed = dict[tuple[str, str, str, tuple[int, int]], tuple[ExpectedFormat, Answer, list[str]]]
"""Format, answer and remarks by task, question, the source's answer, and width and height of the first image."""

_ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 -]{0,39}")
"""A role of an image: the prompt says it."""


class Unfit(Exception):
    """A record cannot be used; `reason` is one of `data.conversion.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass
class Part:
    """The records of one subset in one split folder, and the rows and quarantine that they become."""

    files: dict[QuestionFile, list[object]]
    rows: list[Row] = field(default_factory=list)
    quarantine: list[QuarantinedRow] = field(default_factory=list)


def quarantined(
    file: QuestionFile, row: int | None, reason: str, detail: str, record: str, images: Sequence[str]
) -> QuarantinedRow:
    """A row of the quarantine; `row` is None for a file as a whole."""
    return QuarantinedRow(
        source_file=file.path,
        source_row=row,
        subset=file.subset,
        reason=reason,
        detail=detail.encode("utf-8", "backslashreplace").decode("utf-8")[:LONGEST_DETAIL],
        record=record,
        uid=None if row is None else file.uid(row),
        folder=file.folder,
        images=tuple(images),
    )


def named_images(record: object) -> list[str]:
    """The image names of a raw record; empty where it names none that can be read as such."""
    names = record.get("ImageName") if isinstance(record, dict) else None
    if isinstance(names, str):
        return [names] if names.strip() else []
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        return []
    return names


def unique_paths(names: Iterable[str], index: Index, exactly: bool = False) -> list[str]:
    """Paths of those `names` that mean exactly one image; see `Index.find`."""
    return [paths[0] for paths in (index.find(name, exactly) for name in names) if len(paths) == 1]


def build_part(
    part: Part,
    index: Index,
    probes: Mapping[str, Probe],
    conventions: Mapping[str, Conventions],
    policies: Policies,
) -> None:
    """Fill `part.rows` and `part.quarantine` so that each raw record is in exactly one of them.

    Args:
        index: images of the part's folder.
        probes: what each image is, by its path in the index.
        conventions: of each task in this subset.
    """
    patterns = {subset: re.compile(pattern) for subset, pattern in policies.cases.items()}
    answered = _answered_keys(part)
    typed: _Typed = {}
    entries: list[tuple[QuestionFile, int, object, Row | Unfit]] = []
    for file, records in part.files.items():
        superseded = answered.get(file.path, ())
        for number, record in enumerate(records):
            try:
                if superseded and _key(record) in superseded:
                    raise Unfit("superseded", "the file with answers holds the row")
                row = _row(file, number, record, index, probes, conventions, policies, patterns.get(file.subset), typed)
                entries.append((file, number, record, row))
            except (Unfit, BadAnswer) as error:
                entries.append((file, number, record, Unfit(error.reason, str(error))))
    pixels = {probe.facts.sha256: probe.facts.pixel_sha256 for probe in probes.values() if probe.facts is not None}
    checked = _checked_together([row for _, _, _, row in entries if isinstance(row, Row)], pixels, policies)
    for file, number, record, entry in entries:
        final = entry if isinstance(entry, Unfit) else checked[entry.uid]
        if isinstance(final, Row):
            part.rows.append(final)
        else:
            exactly = isinstance(record, dict) and "Place" in record
            images = unique_paths(named_images(record), index, exactly)
            part.quarantine.append(quarantined(file, number, final.reason, str(final), record_text(record), images))


def _key(record: object) -> str | None:
    """FLARE's join key of a record: `str(ImageName)||Question`."""
    if not isinstance(record, dict) or not named_images(record) or not isinstance(record.get("Question"), str):
        return None
    return f"{record['ImageName']}||{record['Question']}"


def _answered_keys(part: Part) -> dict[str, set[str]]:
    """Keys of the records with answers, by the path of the file that lacks them."""
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
    probes: Mapping[str, Probe],
    conventions: Mapping[str, Conventions],
    policies: Policies,
    pattern: re.Pattern[str] | None,
    typed: _Typed,
) -> Row:
    """One typed row, checked on its own.

    Args:
        typed: texts that were typed before; questions and answers repeat by the thousand.

    Raises:
        Unfit, BadAnswer: it cannot be used.
    """
    if not isinstance(record, dict):
        raise Unfit("not_an_object", f"the row is {type(record).__name__}")
    if isinstance(record, DoubledKeys):
        raise Unfit("doubled_key", f"{', '.join(record.doubled)[:200]} stands more than once")
    if not is_unicode(record):
        raise Unfit("bad_text", "half a surrogate pair")
    if (fault := record.get("Fault")) is not None:
        reason, detail = _texts(fault, "Fault", 2)
        if reason not in REASONS:
            raise Unfit("bad_text", f"Fault names {reason[:40]!r}; expected one of {', '.join(REASONS)}")
        raise Unfit(reason, detail)
    task = normalise_task(record.get("TaskType"))
    if task is None:
        known = ", ".join(tasks())
        raise Unfit("unknown_task", f"TaskType is {record_text(record.get('TaskType'))[:80]}; expected one of {known}")
    question = record.get("Question")
    if not isinstance(question, str) or not question.strip():
        raise Unfit("no_question", f"Question is {record_text(question)[:80]}")
    try:
        answer_raw = _ENCODER.encode(record.get("Answer"))
    except RecursionError:
        raise Unfit("wrong_answer_type", "the answer is nested too deeply") from None
    if (longest := max(len(question), len(answer_raw))) > LONGEST_TEXT:
        raise Unfit("too_long", f"{longest} characters, of {LONGEST_TEXT} at most")
    paths, notes = _images(record, index, policies)
    images = tuple(_image(probes[path], role) for path, role in zip(paths, _roles(record, paths), strict=True))
    size = (images[0].width, images[0].height) if images else (0, 0)
    raw = record.get("Answer")
    key = (task, question, raw, size) if isinstance(raw, str) else None
    if key is not None and key in typed:
        expected, answer, remarks = typed[key]
    else:
        part: AnswersPart = load_part(task, "answers")
        expected = part.expected_format(question, conventions[task])
        if expected.box_convention is not None:
            if not images:
                raise Unfit("no_image_named", "boxes lie in an image, and the row has none")
            expected = expected._replace(width=size[0], height=size[1])
        answer, remarks = _answer(part, raw, expected, size, policies)
        if key is not None:
            typed[key] = expected, answer, remarks
    return Row(
        uid=file.uid(number),
        subset=file.subset,
        modality=file.modality,
        folder=file.folder,
        task=task,
        task_raw=record["TaskType"],
        case_id=_case(record, file, number, paths, pattern),
        question=question,
        expected=expected,
        images=images,
        image_name=_ENCODER.encode(record["ImageName"]),
        answer=answer.text,
        answer_raw=answer_raw,
        source_file=file.path,
        source_row=number,
        notes=(*notes, *remarks),
        labels=answer.labels,
        number=answer.number,
        boxes=answer.boxes,
        instances=answer.instances,
        groups=_groups(record.get("Groups", {})),
        rubric=_rubric(record.get("Rubric"), task),
    )


def _roles(record: dict[str, object], paths: Sequence[str]) -> list[str]:
    """The role of each image, empty where the record says nothing of it."""
    if (given := record.get("Roles")) is None:
        return [""] * len(paths)
    roles = _texts(given, "Roles", len(named_images(record)))
    if strange := next((role for role in roles if role and not _ROLE.fullmatch(role)), None):
        raise Unfit("bad_text", f"Roles holds {strange[:40]!r}; expected letters, digits, spaces and hyphens")
    if len(roles) != len(paths):
        raise Unfit("missing_image", "an image that has a role is missing: the question is about all of them")
    return roles


def _case(
    record: dict[str, object], file: QuestionFile, number: int, paths: Sequence[str], pattern: re.Pattern[str] | None
) -> str:
    """The case that the record names, which ties its rows over subsets, or that of its first image's name.

    A row that has neither is a case of its own.
    """
    if (case := record.get("Case")) is None:
        return case_of(file.subset, file.folder, paths[0], pattern) if paths else file.uid(number)
    return f"{CASE}{_texts([case], 'Case', 1)[0]}"


def _rubric(given: object, task: str) -> str:
    """What the record states that answers are graded by, as `Row.rubric` holds it."""
    if given is None or given == "":
        return ""
    if tasks()[task].judged_by != "rubrics":
        raise Unfit("bad_rubric", f"answers of the task {task} are graded by no rubric")
    try:
        return stated(given).text()
    except BadRubric as fault:
        raise Unfit("bad_rubric", str(fault)) from None


def _groups(groups: object) -> tuple[Group, ...]:
    if groups == {}:
        return ()
    if not isinstance(groups, dict):
        raise Unfit("bad_text", f"Groups is {record_text(groups)[:80]}; expected an object of names and texts")
    values = _texts(list(groups.values()), "Groups", len(groups))
    return tuple(sorted(Group(name, value) for name, value in zip(groups, values, strict=True)))


def _texts(values: object, key: str, count: int) -> list[str]:
    """`values` if it is a list of so many texts; raises Unfit."""
    if isinstance(values, list) and len(values) == count and all(isinstance(value, str) for value in values):
        return values
    raise Unfit("bad_text", f"{key} is {record_text(values)[:80]}; expected {count} texts")


def _image(probe: Probe, role: str) -> Image:
    if probe.facts is None:
        raise Unfit("unreadable_image", probe.fault or "")
    return Image(probe.facts.path, probe.facts.sha256, probe.facts.width, probe.facts.height, role)


def _images(record: dict[str, object], index: Index, policies: Policies) -> tuple[list[str], list[str]]:
    """Paths of the record's images, and notes on those that a policy leaves out.

    A record that says its place in a source was prepared and names its images in full: no other will do, and an
    empty list of it says that there are none.
    """
    if record.get("ImageName") == [] and "Place" in record:
        return [], []
    names = named_images(record)
    if not names:
        raise Unfit("no_image_named", f"ImageName is {record_text(record.get('ImageName'))[:80]}")
    paths, missing = [], []
    for name in names:
        candidates = index.find(name, exactly="Place" in record)
        if len(candidates) > 1:
            raise Unfit("ambiguous_image", f"{name} may be {' or '.join(candidates[:3])}")
        paths += candidates
        missing += [] if candidates else [name]
    if missing and (policies.missing_image == "quarantine" or not paths):
        archives = "".join(f"; {path} is not a readable zip" for path in index.bad_archives)
        described = ", ".join(name + index.near(name) for name in missing[:3])
        raise Unfit("missing_image", f"not in the dataset: {described}{archives}")
    return paths, [f"repaired: {name} is missing and left out" for name in missing]


def _answer(
    part: AnswersPart, raw: object, expected: ExpectedFormat, size: tuple[int, int], policies: Policies
) -> tuple[Answer, list[str]]:
    """The typed answer, repaired where a policy says so, and notes on it.

    Where there is none and the policy keeps such rows, an empty one.

    Args:
        size: width and height of the first image, in pixels; (0, 0) where there is none.
    """
    try:
        answer = part.parse(raw, expected)
    except BadAnswer as error:
        if error.reason != "no_answer" or policies.no_answer == "quarantine":
            raise
        return Answer(""), [f"kept_defect: no_answer: {error}"]
    fault = part.fault(answer, expected, *size)
    if fault is None:
        return answer, []
    policy = getattr(policies, fault.reason, "quarantine")
    if policy == "quarantine":
        raise Unfit(fault.reason, fault.detail)
    if policy == "keep":
        return answer, [f"kept_defect: {fault.detail}"]
    repaired = part.repaired(answer, expected, *size)
    if repaired is None:
        raise Unfit(fault.reason, f"{fault.detail}; nothing is left of it in the image")
    return repaired, [f"repaired: {fault.detail}"]


def _checked_together(rows: Sequence[Row], pixels: Mapping[str, str], policies: Policies) -> dict[str, Row | Unfit]:
    """Each row by uid as it stands among the others of its part: unfit beside them, or with a note of it.

    Rows without an answer go together with any: each of them is to be answered.

    Args:
        pixels: hash of an image's pixels by the hash of its file: images of equal pixels are one.
    """
    checked: dict[str, Row | Unfit] = {row.uid: row for row in rows}

    def report(row: Row, reason: str, policy: str, detail: str) -> None:
        current = checked[row.uid]
        if policy == "quarantine":
            checked[row.uid] = Unfit(reason, detail)
        elif isinstance(current, Row):
            checked[row.uid] = replace(current, notes=(*current.notes, f"kept_defect: {reason}: {detail}"))

    answered = [row for row in rows if row.has_answer]
    for row, detail in _outliers(answered, policies.outlier_spread):
        report(row, "outlier", policies.outlier, detail)
    same_question: dict[tuple[str, ...], list[Row]] = {}
    for row in answered:
        if isinstance(checked[row.uid], Row):
            key = (row.task, " ".join(row.question.split()), *(pixels[image.sha256] for image in row.images))
            same_question.setdefault(key, []).append(row)
    for group in same_question.values():
        if len(group) < 2:
            continue
        if len(Counter(row.answer for row in group)) > 1 and not tasks()[group[0].task].free_text:
            for row in group:
                others = [other.uid for other in group if other.answer != row.answer]
                detail = f"another answer is in {', '.join(others[:3])}"
                report(row, "contradiction", policies.contradiction, detail)
            continue
        first: dict[str, str] = {}
        for row in group:
            earlier = first.setdefault(row.answer, row.uid)
            if earlier != row.uid:
                report(row, "duplicate", policies.duplicate, f"the same row is {earlier}")
    return checked


def _outliers(rows: Sequence[Row], spread: float) -> list[tuple[Row, str]]:
    """Rows whose number is far from those of the same question, for tasks that know what far is."""
    by_question: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.number is not None:
            by_question.setdefault((row.task, " ".join(row.question.split())), []).append(row)
    far = []
    for (task, _), group in by_question.items():
        outliers = getattr(load_part(task, "answers"), "outliers", None)
        if outliers is not None:
            places = outliers([row.number for row in group], spread)
            far += [(group[place], detail) for place, detail in places]
    return far
