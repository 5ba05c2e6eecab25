"""Open answers as models write them: a line, or a line that prose leads to."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.language.refusals import REFUSAL
from workflow_scripts.tasks.language.text import LONGEST

MOST_WORDS = 50
"""Of a short answer; more is a report."""
_WORD = re.compile(r"\w")
_LEAD = re.compile(
    r"(?:\b(?:final |correct |short |the )?answer(?:\s+is\b|\**\s*[:=]\**|\s*\n)|\\boxed\{)", re.IGNORECASE
)
_HEADING = re.compile(r":[*_]*$")
_EDGES = " \t\r\n*_`\"'“”‘’$#>{}[]()-–—:"


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """One line of at most fifty words that says something and does not decline."""
    text = text.strip()
    if len(text) > LONGEST or "\n" in text or "\r" in text or not _WORD.search(text):
        return None
    return None if len(text.split()) > MOST_WORDS or REFUSAL.search(text) else text


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """What follows the last "answer is", "Answer:" or box, up to the end of its line; else the first line that is
    no heading.

    What is read strictly is read the same.
    """
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    text = text[:LONGEST].strip()
    after = text[max((lead.end() for lead in _LEAD.finditer(text)), default=0) :]
    lines = (line.strip() for line in after.splitlines())
    line = next((line for line in lines if _WORD.search(line) and not _HEADING.search(line)), "")
    return read_strict(expected, line.strip(_EDGES))


def reference(row: Row) -> Value:
    """The answer."""
    return row.answer.strip()
