"""Answers to clinical questions in free text, as a source writes them."""

import json
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.options import NOTHING, source_text


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Free text has no form."""
    return []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Any text."""
    return ExpectedFormat()


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """A text, or the lines of a list: the reference that an answer is graded against, and that training learns.

    Raises:
        BadAnswer: it is missing or no text.
    """
    if isinstance(raw, list) and raw and all(isinstance(line, str) for line in raw):
        raw = "\n".join(line.strip() for line in raw if line.strip())
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    return Answer(source_text(raw))


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """Any answer goes with any question."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
