"""All findings in a form that the page's script decodes by need: columns to filter by, and chunks of texts.

Each part is JSON, compressed with gzip and written in base64: tens of thousands of findings are a few megabytes, and a
browser opens them in a fraction of a second. Nothing in it is HTML; the script shows it as text.
"""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from workflow_scripts.core.pages import cut, visible_directions
from workflow_scripts.core.rows import AuditFinding, QuarantinedRow, Row
from workflow_scripts.data.auditing.thumbnails import Thumbnails

LISTED = 60_000
"""Most findings that the page lists; the table of findings has all."""
LARGEST = 8_000_000
"""Characters of all packed texts together; where they would be more, fewer findings are listed."""
CHUNK = 500
"""Findings whose texts are decoded together."""
EXAMPLES = 8
"""Findings of each kind that are shown with thumbnails."""
IMAGES_SHOWN = 3
"""Thumbnails, and paths, of one finding."""
TEXT = 500
"""Characters of a text that are listed."""


class Example(NamedTuple):
    """What the page shows of a finding's row."""

    question: str
    answer: str
    images: tuple[str, ...]  # paths


class Listing(NamedTuple):
    """The findings as the page holds them."""

    head: dict[str, object]  # names that the columns count, and sizes; JSON
    columns: str  # packed
    chunks: list[str]  # packed
    total: int  # findings listed


def example_of(row: Row) -> Example:
    """A row as the page shows it."""
    return Example(row.question, row.answer, tuple(image.path for image in row.images))


def example_of_quarantined(entry: QuarantinedRow) -> Example:
    """A quarantined row as the page shows it: its record's own text where that was cut or is not a JSON object."""
    try:
        record = json.loads(entry.record)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict):
        return Example(entry.record, "", entry.images)
    answer = json.dumps(record["Answer"], ensure_ascii=False) if "Answer" in record else ""
    return Example(_unicode(str(record.get("Question", ""))), _unicode(answer), entry.images)


def _unicode(text: str) -> str:
    """`text` with halves of surrogate pairs escaped: a JSON escape may stand for one, and no file can hold it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def short(text: str, length: int = TEXT) -> str:
    """A text of the data as the page shows it: cut, and what turns the order of its characters is seen."""
    return visible_directions(cut(text, length))


def packed(value: object) -> str:
    """JSON of `value`, compressed, in base64; the same bytes in every run."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 6, mtime=0)).decode("ascii")


def listing(
    findings: Sequence[AuditFinding],
    examples: Mapping[str | None, Example],
    thumbnails: Thumbnails,
    pairs: Mapping[str, tuple[str, str]] | None = None,
    most: int = LISTED,
    largest: int = LARGEST,
) -> Listing:
    """The findings as the page holds them; the first of each kind with thumbnails.

    Args:
        findings: all of them; a finding's number is its place here.
        examples: rows by uid, at least those that findings name.
        thumbnails: takes the images that are shown.
        pairs: by uid, the paths of two images that look alike, which a near duplicate shows beside each other.
        most: findings listed. Where there are more, each kind has its first ones: an equal share, or all it has.
        largest: characters of all packed texts; fewer findings are listed where they would be more.
    """
    numbers = _chosen(findings, most)
    names = {
        field: sorted({str(getattr(findings[number], field)) for number in numbers})
        for field in ("kind", "action", "subset", "folder")
    }
    places = {field: {name: place for place, name in enumerate(listed)} for field, listed in names.items()}
    columns: dict[str, list[int]] = {
        field: [place[getattr(findings[number], field)] for number in numbers] for field, place in places.items()
    }
    columns["number"] = numbers
    texts = _texts([findings[number] for number in numbers], examples, thumbnails, pairs or {})
    chunks = [packed(texts[start : start + CHUNK]) for start in range(0, len(texts), CHUNK)]
    size = sum(map(len, chunks))
    if size > largest and len(numbers) > 1:
        return listing(findings, examples, thumbnails, pairs, int(len(numbers) * 0.95 * largest / size), largest)
    head: dict[str, object] = {"names": names, "count": len(numbers), "chunk": CHUNK}
    return Listing(head, packed(columns), chunks, len(numbers))


def _texts(
    findings: Sequence[AuditFinding],
    examples: Mapping[str | None, Example],
    thumbnails: Thumbnails,
    pairs: Mapping[str, tuple[str, str]],
) -> list[list[object]]:
    """What a finding says besides its columns: uid, file, row, detail, question, answer, paths, thumbnails."""
    shown: dict[str, int] = {}
    texts: list[list[object]] = []
    for finding in findings:
        example = examples.get(finding.uid, Example("", "", ()))
        alike = pairs.get(finding.uid or "") if finding.kind == "near_duplicate" else None
        images = list(alike or example.images[:IMAGES_SHOWN])
        illustrated = bool(images) and shown.get(finding.kind, 0) < EXAMPLES
        shown[finding.kind] = shown.get(finding.kind, 0) + illustrated
        place = [finding.uid or "", finding.source_file, finding.source_row]
        said = [cut(text, TEXT) for text in (finding.detail, example.question, example.answer)]
        texts.append([*place, *said, images, [thumbnails.number(path) for path in images] if illustrated else []])
    return texts


def _chosen(findings: Sequence[AuditFinding], most: int) -> list[int]:
    """Numbers of the findings that are listed, in their order."""
    if len(findings) <= most:
        return list(range(len(findings)))
    by_kind: dict[str, list[int]] = {}
    for number, finding in enumerate(findings):
        by_kind.setdefault(finding.kind, []).append(number)
    numbers: list[int] = []
    for place, listed in enumerate(sorted(by_kind.values(), key=len)):  # what a rare kind leaves goes to the others
        numbers += listed[: (most - len(numbers)) // (len(by_kind) - place)]
    return sorted(numbers)
