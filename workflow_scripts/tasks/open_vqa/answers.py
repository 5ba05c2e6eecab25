"""Open answers of visual question answering as a source writes them: a word, a phrase, a sentence."""

from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.vqa.sources import short_answer


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Nothing is learned: any words may answer an open question."""
    return []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Any words."""
    return ExpectedFormat()


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """A text on one line, whose wording is the source's.

    Raises:
        BadAnswer: there is none, or it is no text.
    """
    return Answer(short_answer(raw))


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """Any answer goes with any image."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
