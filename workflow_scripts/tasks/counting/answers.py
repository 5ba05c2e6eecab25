"""Counts as a source writes them."""

import json
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.options import NOTHING
from workflow_scripts.tasks.source_numbers import SOURCE_LIMIT, source_number


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Counts are written alike everywhere."""
    return []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """A whole number."""
    return ExpectedFormat()


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """A whole number from 0.

    Raises:
        BadAnswer: it is none.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    value, percent = source_number(raw)
    if percent or not value.is_integer() or not 0 <= value < SOURCE_LIMIT:
        raise BadAnswer("invalid_number", f"{raw!r} is not a count")
    return Answer(str(int(value)), number=value)


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """A count fits every question and image."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
