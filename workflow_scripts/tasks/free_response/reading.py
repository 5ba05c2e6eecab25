"""Answers to clinical questions in free text, as models write them: any text that says something."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row

_WORD = re.compile(r"[^\W_]")


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """The text; None where it holds neither a letter nor a digit."""
    text = text.strip()
    return text if _WORD.search(text) else None


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The same as read strictly: free text has no form that could be missed."""
    return read_strict(expected, text)


def reference(row: Row) -> Value:
    """The reference answer."""
    return row.answer.strip()
