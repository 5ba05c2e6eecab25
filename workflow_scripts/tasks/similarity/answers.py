"""How alike two texts are, as a source writes it: a number, in STS from 0 (nothing in common) to 5 (the same)."""

import json
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.options import NOTHING
from workflow_scripts.tasks.source_numbers import source_number


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Nothing is learned: the question says the scale."""
    return []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """A number."""
    return ExpectedFormat()


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """A finite number.

    Raises:
        BadAnswer: it is none.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    value, percent = source_number(raw)
    if percent:
        raise BadAnswer("invalid_number", f"{raw!r} is a percentage; expected a number of the scale")
    return Answer(repr(value), number=value)


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """A number fits every two texts."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
