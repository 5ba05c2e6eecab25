"""Probabilities as a source writes them: one, or the interval that evidence supports."""

import re
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat, FormatSource
from workflow_scripts.tasks.probability.intervals import interval_of, written

_FRACTION = re.compile(
    r"\b(?:between|from) 0 (?:and|to) 1\b|\bas a (?:decimal|fraction|proportion|number between 0)\b", re.IGNORECASE
)


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Nothing is learned: the question says whether per cent or a fraction is asked for."""
    return []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Per cent, unless the question asks for a fraction of 1."""
    if _FRACTION.search(question):
        return ExpectedFormat(sources=(FormatSource("percent", "question"),))
    return ExpectedFormat(percent=True, sources=(FormatSource("percent", "task default"),))


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """The midpoint of the interval as text to learn; the interval itself stays in the source's value.

    Raises:
        BadAnswer: there is none, or it is no probability.
    """
    middle = interval_of(raw, percent=expected.percent).middle
    return Answer(written(middle, percent=expected.percent))


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """A probability fits every question."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
