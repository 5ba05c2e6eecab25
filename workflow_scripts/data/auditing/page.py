"""The audit as one HTML page that needs no network: pictures are inside, and all text of the data is escaped."""

import base64
import io
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import jinja2

from workflow_scripts.core.images import BadImage, open_image
from workflow_scripts.data.conversion.reasons import FINDINGS, REASONS

TEMPLATE = "audit_page.jinja"
SHOWN = 8
"""Rows shown of each kind; the table of findings has all."""

SIDE = 192
IMAGES_SHOWN = 3
TEXT = 300


def render(
    root: Path, findings: Sequence[dict], images: dict[str, list[str]], asked: dict[str, tuple[str, str]], facts: dict
) -> str:
    """The page.

    Args:
        tree: folder that the images' paths start from.
        findings: rows of `core.tables.AUDIT`.
        images: paths of a row's images, by uid.
        asked: question and answer of a row, by uid.
        facts: `rows_in`, `kept`, `quarantined`, `files`, `tokens`, `summary` and `balance`.
    """
    by_kind: dict[str, list[dict]] = {}
    for finding in findings:
        by_kind.setdefault(finding["kind"], []).append(finding)
    meanings = REASONS | FINDINGS
    kinds = [
        {
            "name": kind,
            "meaning": meanings[kind],
            "action": ", ".join(sorted({finding["action"] for finding in by_kind[kind]})),
            "count": len(by_kind[kind]),
            "shown": [_card(root, finding, images, asked) for finding in by_kind[kind][:SHOWN]],
        }
        for kind in meanings
        if kind in by_kind
    ]
    groups = itertools.groupby(facts["balance"], key=lambda b: f"{b['dataset']}, {b['folder']}, {b['task']}")
    balance = [{"title": title, "labels": list(labels)} for title, labels in groups]
    for group in balance:
        group["most"] = max(item["rows"] for item in group["labels"])
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(TEMPLATE).render({**facts, "kinds": kinds, "balance": balance})


def _card(
    root: Path, finding: dict, images: dict[str, list[str]], asked: dict[str, tuple[str, str]]
) -> dict[str, object]:
    question, answer = asked.get(finding["uid"], ("", ""))
    thumbnails = (_thumbnail(root, path) for path in images.get(finding["uid"], [])[:IMAGES_SHOWN])
    return {
        "place": finding["uid"] or finding["source_file"],
        "detail": _short(finding["detail"]),
        "question": _short(question),
        "answer": _short(answer),
        "pictures": [thumbnail for thumbnail in thumbnails if thumbnail],
    }


def _short(text: str) -> str:
    return text if len(text) <= TEXT else f"{text[:TEXT]} …"


def _thumbnail(root: Path, path: str) -> str | None:
    """A small JPEG as a data URI; None for a picture that cannot be read, which its finding says."""
    try:
        image = open_image(root, path)
    except BadImage:
        return None
    image.thumbnail((SIDE, SIDE))
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def asked_in(record: str) -> tuple[str, str]:
    """Question and answer of a quarantined row's JSON, for the page; the text itself where it was cut."""
    try:
        value = json.loads(record)
    except ValueError:
        return record, ""
    if not isinstance(value, dict):
        return record, ""
    return str(value.get("Question", "")), json.dumps(value.get("Answer"), ensure_ascii=False)
