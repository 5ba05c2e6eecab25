"""What an audit reports of converted rows: findings row by row, a summary, and rows by label."""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import median

from workflow_scripts.core.rows import AuditFinding, Box, ImageFacts, LabelCount, QuarantinedRow, Row, SubsetSummary
from workflow_scripts.data.auditing.leaks import Leaks, leaks_of

LARGER = (("fetal head", "pubic symphysis"),)
"""Structures of which the first is always the larger; iugc's boxes look swapped where it is not."""

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]|_")


_KINDS = bytes(ord("a" if chr(code).isalpha() else "." if _PIECES.match(chr(code)) else " ") for code in range(128))
"""By ASCII character: a for a letter, a full stop for another sign that is a piece of its own, a space for the rest."""


def approximate_tokens(text: str) -> int:
    """Words, single digits and signs of `text`: near what Gemma's tokenizer makes of an answer."""
    if not text.isascii():
        return len(_PIECES.findall(text))
    kinds = text.encode().translate(_KINDS.ljust(256))  # the same count in a twentieth of the time
    return kinds.count(b".") + len(kinds.replace(b".", b" ").split())


def audit_findings(
    rows: Sequence[Row],
    quarantine: Sequence[QuarantinedRow],
    images: Sequence[ImageFacts],
    leaks: Leaks | None = None,
) -> list[AuditFinding]:
    """Everything to report of single rows, sorted by place.

    Args:
        rows: of all split folders.
        quarantine: what became no row.
        images: what is known of each image of the rows.
        leaks: what ties the folders, where that is known already.
    """
    findings = [
        AuditFinding(
            entry.reason,
            "quarantined",
            entry.subset,
            entry.folder,
            entry.uid,
            entry.source_file,
            entry.source_row,
            _place_of(entry.record) + entry.detail,
        )
        for entry in quarantine
    ]
    for row in rows:
        for note in row.notes:
            kind, _, detail = note.partition(": ")
            findings.append(_finding(row, kind, "repaired" if kind == "repaired" else "kept", detail))
    findings += _of_leaks(leaks_of(rows, images) if leaks is None else leaks)
    findings += _of_images(rows, images)
    findings += _swapped(rows)
    return sorted(findings, key=lambda f: (f.source_file, -1 if f.source_row is None else f.source_row, f.kind))


def _place_of(record: str) -> str:
    """Where a prepared record stands in its source, as the beginning of a sentence; else empty.

    Its question file was written by `data.prepare`: who mends a table knows the table's rows, not the file's.
    """
    try:
        values = json.loads(record)
    except (ValueError, RecursionError):
        return ""  # cut, or of a file as a whole
    place = values.get("Place") if isinstance(values, dict) else None
    if not isinstance(place, str) or not place:
        return ""
    return place.encode("utf-8", "backslashreplace").decode("utf-8") + ": "


def _finding(row: Row, kind: str, action: str, detail: str) -> AuditFinding:
    return AuditFinding(kind, action, row.subset, row.folder, row.uid, row.source_file, row.source_row, detail)


def _of_leaks(leaks: Leaks) -> list[AuditFinding]:
    findings = [_finding(row, f"leaked_{tie}", "left out", f"shared with {other}") for row, tie, other in leaks.shared]
    for row, path, other, other_path, bits in leaks.alike:
        detail = f"{path} looks like {other_path} of {other.uid} ({bits} of 256 bits differ)"
        findings.append(_finding(row, "near_duplicate", "kept", detail))
    return findings


def _of_images(rows: Sequence[Row], images: Sequence[ImageFacts]) -> list[AuditFinding]:
    """What was done to bring an image to 8 bits and one frame, once an image: of its first row."""
    by_path = {image.path: image for image in images if image.depth > 8 or image.frames > 1}
    findings = []
    for row in rows if by_path else ():
        for image in row.images:
            facts = by_path.pop(image.path, None)
            if facts is None:
                continue
            if facts.frames > 1:
                detail = f"{facts.path}: the first of {facts.frames} frames is used"
                findings.append(_finding(row, "first_frame", "kept", detail))
            if facts.low is not None and facts.high is not None:
                detail = f"{facts.path}: of {facts.depth} bits, {facts.low:g} to {facts.high:g} are stretched to 8 bits"
                findings.append(_finding(row, "stretched_image", "kept", detail))
            elif facts.depth > 8:
                detail = f"{facts.path}: of {facts.depth} bits a colour, the upper 8 are used"
                findings.append(_finding(row, "deep_colours", "kept", detail))
    return findings


def _swapped(rows: Sequence[Row]) -> list[AuditFinding]:
    """Rows of one image in which the larger structure's box is the smaller one."""
    structures = {name for pair in LARGER for name in pair}
    by_structure: dict[tuple[str, str], list[tuple[Row, float]]] = {}
    for row in rows:
        if row.boxes:
            question, area = row.question.lower(), max(map(_area, row.boxes))
            for structure in structures:
                if structure in question:
                    by_structure.setdefault((row.images[0].sha256, structure), []).append((row, area))
    findings = []
    for (image, structure), large_rows in by_structure.items():
        for large, small in LARGER:
            small_rows = by_structure.get((image, small), []) if structure == large else []
            for row, area in large_rows:
                for other, other_area in small_rows:
                    if area < other_area:
                        detail = f"the {large}'s box is smaller than the {small}'s"
                        findings += [_finding(each, "swapped_boxes", "kept", detail) for each in (row, other)]
    return findings


def _area(box: Box) -> float:
    return (box.x2 - box.x1) * (box.y2 - box.y1)


def _by_task(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.subset, row.folder, row.task), []).append(row)
    return dict(sorted(groups.items()))


def label_counts(rows: Sequence[Row]) -> list[LabelCount]:
    """Rows by label, the most frequent of a task first; an empty label set is counted under the empty label."""
    counts = []
    for (subset, folder, task), group in _by_task(rows).items():
        labels = Counter(
            label for row in group if row.labels is not None for label in (sorted(set(row.labels)) or [""])
        )
        for label, number in sorted(labels.items(), key=lambda pair: (-pair[1], pair[0])):
            counts.append(LabelCount(subset, folder, task, label, number))
    return counts


def summarise(rows: Sequence[Row], count_tokens: Callable[[str], int]) -> list[SubsetSummary]:
    """Sizes, lengths and ranges by subset, folder and task."""
    summaries = []
    for (subset, folder, task), group in _by_task(rows).items():
        labels = Counter(label for row in group if row.labels is not None for label in set(row.labels))
        numbers = [row.number for row in group if row.number is not None]
        answers = [count_tokens(row.answer) for row in group]
        summaries.append(
            SubsetSummary(
                subset=subset,
                folder=folder,
                task=task,
                rows=len(group),
                cases=len({row.case_id for row in group}),
                images=len({image.sha256 for row in group for image in row.images}),
                images_a_row=max(len(row.images) for row in group),
                question_tokens=float(median(count_tokens(row.question) for row in group)),
                answer_tokens=float(median(answers)),
                longest_answer=max(answers),
                classes=len(labels) if labels else None,
                largest_class=max(labels.values()) / len(group) if labels else None,
                least=min(numbers) if numbers else None,
                median=median(numbers) if numbers else None,
                greatest=max(numbers) if numbers else None,
            )
        )
    return summaries
