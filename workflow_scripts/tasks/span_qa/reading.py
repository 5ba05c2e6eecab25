"""Words of a text as models write them: alone, or behind words that lead to them."""

import json
import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.entities.mentions import places_of
from workflow_scripts.tasks.language.text import LONGEST
from workflow_scripts.tasks.open_vqa import reading as open_answers
from workflow_scripts.tasks.span_qa.spans import UNANSWERABLE, answers_in

_LEAD = re.compile(r"\banswer(?:\s+is\b|\s*[:=])", re.IGNORECASE)
_EDGES = " \t\r\n*_`\"'“”‘’.,;:"


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """Words that stand in the question's text, and nothing else; or `unanswerable`."""
    text = text.strip()
    if len(text) > LONGEST or expected.text is None:
        return None
    if text.lower() == UNANSWERABLE:
        return UNANSWERABLE
    words = " ".join(text.split())
    return words if places_of(words, expected.text, True) else None


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """Words that stand there without the marks around them, or behind "the answer is"; else any short answer."""
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    text = text[:LONGEST]
    for part in (text, _LEAD.split(text)[-1]):
        bare = read_strict(expected, part.strip(_EDGES))
        if bare is not None:
            return bare
    return open_answers.read_lenient(expected, text)


def reference(row: Row) -> Value:
    """All right answers."""
    answers = answers_in(json.loads(row.answer_raw)) or []
    return list(dict.fromkeys(" ".join(answer.words.split()) for answer in answers)) or [UNANSWERABLE]
