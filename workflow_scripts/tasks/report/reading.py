"""Reports as models write them: any text that says something."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row

_SECTION = r"(?:findings?|impressions?|indications?|comparison|technique|report|conclusions?|history|exam(?:ination)?)"
_HEADER = re.compile(
    rf"\b{_SECTION}\s*\W{{0,3}}:|^[^\w\n]*(?:radiology\s+)?{_SECTION}[^\w\n]*$|\"\w+\"\s*:",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"[^\W\d_]{2,}|[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """The text; None where no word is left beside section headers, or where it is a list of boxes."""
    text = text.strip()
    return text if _WORD.search(_HEADER.sub(" ", text)) else None


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The same as read strictly: a report has no form that could be missed."""
    return read_strict(expected, text)


def reference(row: Row) -> Value:
    """The report."""
    return row.answer.strip()
