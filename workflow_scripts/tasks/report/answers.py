"""Reports as a source writes them: text."""

import json
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.options import NOTHING, source_text


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Reports have no form."""
    return []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Any text."""
    return ExpectedFormat()


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """A text.

    Raises:
        BadAnswer: it is missing or no text.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    return Answer(source_text(raw))


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """Any report goes with any image."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
