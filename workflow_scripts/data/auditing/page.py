"""The audit as one HTML page that needs no network: images are inside, and all text of the data is escaped."""

import base64
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jinja2

from workflow_scripts.core.images import BadImage, open_image
from workflow_scripts.core.rows import AuditFinding, Convention, LabelCount, QuarantinedRow, Row, SubsetSummary
from workflow_scripts.data.conversion.reasons import FINDINGS, REASONS

TEMPLATE = "page.html.jinja"
SHOWN = 8
"""Rows shown of each kind; the table of findings has all."""

SIDE = 192
"""Pixels of a thumbnail's longer side."""
IMAGES_SHOWN = 3
TEXT = 300
"""Characters shown of a text."""


class Example(NamedTuple):
    """What the page shows of a row."""

    question: str
    answer: str
    images: tuple[str, ...]  # paths


@dataclass(frozen=True)
class Overview:
    """What the page says besides the findings."""

    records: int
    rows: int
    quarantined: int
    files: int  # question files that could not be read
    tokens: str  # what lengths are counted in
    conventions: Sequence[Convention]
    summary: Sequence[SubsetSummary]
    balance: Sequence[LabelCount]


def example_of(row: Row) -> Example:
    """A row as the page shows it."""
    return Example(row.question, row.answer, tuple(image.path for image in row.images))


def example_of_quarantined(entry: QuarantinedRow) -> Example:
    """A quarantined row as the page shows it: its record's own text where that was cut or is not a JSON object."""
    try:
        record = json.loads(entry.record)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        return Example(entry.record, "", entry.images)
    answer = json.dumps(record.get("Answer"), ensure_ascii=False)
    return Example(_unicode(str(record.get("Question", ""))), _unicode(answer), entry.images)


def _unicode(text: str) -> str:
    """`text` with halves of surrogate pairs escaped: a JSON escape may stand for one, and no file can hold it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def render(
    root: Path, findings: Sequence[AuditFinding], examples: Mapping[str | None, Example], overview: Overview
) -> str:
    """The page.

    Args:
        root: folder that the images' paths start from.
        findings: all of them; of each kind the first are shown.
        examples: rows by uid, at least those that findings name.
        overview: what the page says besides.
    """
    by_kind: dict[str, list[AuditFinding]] = {}
    for finding in findings:
        by_kind.setdefault(finding.kind, []).append(finding)
    meanings = REASONS | FINDINGS
    kinds = [
        {
            "name": kind,
            "meaning": meanings[kind],
            "action": ", ".join(sorted({finding.action for finding in by_kind[kind]})),
            "count": len(by_kind[kind]),
            "shown": [_card(root, finding, examples) for finding in by_kind[kind][:SHOWN]],
        }
        for kind in meanings
        if kind in by_kind
    ]
    groups = itertools.groupby(overview.balance, key=lambda count: (count.subset, count.folder, count.task))
    balance = [_bars(", ".join(place), list(counts)) for place, counts in groups]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["short"] = _short
    return environment.get_template(TEMPLATE).render(overview=overview, kinds=kinds, balance=balance)


def _bars(title: str, counts: Sequence[LabelCount]) -> dict[str, object]:
    return {"title": title, "labels": counts, "most": max(count.rows for count in counts)}


def _card(root: Path, finding: AuditFinding, examples: Mapping[str | None, Example]) -> dict[str, object]:
    example = examples.get(finding.uid, Example("", "", ()))
    thumbnails = (_thumbnail(root, path) for path in example.images[:IMAGES_SHOWN])
    return {
        "place": finding.uid or finding.source_file,
        "detail": finding.detail,
        "question": example.question,
        "answer": example.answer,
        "images": [thumbnail for thumbnail in thumbnails if thumbnail],
    }


def _short(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[:TEXT]} …"


def _thumbnail(root: Path, path: str) -> str | None:
    """A small JPEG as a data URI; None for an image that cannot be read, which its finding says."""
    try:
        image = open_image(root, path)
    except BadImage:
        return None
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"
