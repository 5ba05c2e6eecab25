"""Answers that are words of a text, as a source writes them: SQuAD's and emrQA's questions.

An answer is words; a list of words that are all right; an object of `text` and `start`, or of SQuAD's `text` and
`answer_start`, each a value or a list. An empty list says that the text does not answer the question.
"""

import json
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.entities.documents import text_of
from workflow_scripts.tasks.span_qa.spans import UNANSWERABLE, answers_in, place_of


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Nothing is learned: any words of the text may answer."""
    return []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Words of the question's text."""
    return ExpectedFormat(text=text_of(question))


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """The first of the right answers, or `unanswerable`.

    Raises:
        BadAnswer: there is none, the question has no text, or the text does not hold the words.
    """
    if expected.text is None:
        raise BadAnswer("no_text", "the question has no line `Text:`, after which the text stands")
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    answers = answers_in(raw)
    if answers is None:
        raise BadAnswer("wrong_answer_type", "expected words, a list of words, or an object of text and start")
    for answer in answers:
        if place_of(answer, expected.text) is None:
            raise BadAnswer("bad_span", f"the text does not hold {answer.words[:60]!r} at the place that is named")
    return Answer(" ".join(answers[0].words.split()) if answers else UNANSWERABLE)


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """Words that could be parsed stand in the text."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
