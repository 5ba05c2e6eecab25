"""Answers from a text for an encoder: where in the text they stand."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.entities.documents import before_text
from workflow_scripts.tasks.entities.examples import Example, Output
from workflow_scripts.tasks.span_qa.spans import UNANSWERABLE, answers_in, place_of

HEAD = "span"
MARKS: tuple[str, ...] = ()


def learn(rows: Sequence[Row]) -> dict[str, Any]:
    """Whether some rows have no answer in their text."""
    return {"may_be_unanswerable": any(row.answer == UNANSWERABLE for row in rows)}


def examples(row: Row, known: Mapping[str, Any]) -> list[Example]:
    """The question and the text, with the place of the first right answer."""
    text = row.expected.text or ""
    answers = answers_in(json.loads(row.answer_raw)) or []
    span = place_of(answers[0], text) if answers else None
    return [Example(before_text(row.question), text, spans=() if span is None else ((*span, ""),))]


def answer(row: Row, known: Mapping[str, Any], outputs: Sequence[Output]) -> str:
    """The words at the place that was named, or `unanswerable`."""
    (span,) = outputs
    if not isinstance(span, tuple):
        return UNANSWERABLE
    return " ".join((row.expected.text or "")[span[0] : span[1]].split()) or UNANSWERABLE
