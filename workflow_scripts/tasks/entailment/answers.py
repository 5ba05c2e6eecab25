"""Whether one text follows from another, as a source writes it: entailment, neutral, contradiction, or other words."""

import json
from collections import Counter
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat, FormatSource
from workflow_scripts.tasks.entailment.documents import before_pair
from workflow_scripts.tasks.options import NOTHING, source_text
from workflow_scripts.tasks.questions import choices_in

CLASSES = ("entailment", "neutral", "contradiction")
MOST_CLASSES = 20
"""A subset whose answers are of more kinds than this has no classes."""


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """The words that the subset answers with."""
    counted = Counter(row.raw.strip() for row in rows if isinstance(row.raw, str) and row.raw.strip())
    if not counted or len(counted) > MOST_CLASSES:
        return []
    return [Learned("labels", sorted(counted), counted.total(), len(rows))]


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """The words that the question offers, else those of the subset, else the usual three."""
    labels, source = choices_in(before_pair(question)), "question"
    if not labels and (known := conventions.get("labels")) is not None:
        labels, source = tuple(map(str, known.value)) if isinstance(known.value, list) else (), known.source
    if not labels:
        labels, source = CLASSES, "task default"
    return ExpectedFormat(answer_by="words", labels=labels, sources=(FormatSource("labels", source),))


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """One of the words.

    Raises:
        BadAnswer: there is none, or it is no text.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    text = source_text(raw)
    return Answer(text, labels=(text,))


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """An answer that is none of the words."""
    if answer.text in expected.labels:
        return None
    return Fault("answer_not_an_option", f"{answer.text[:60]!r} is none of {', '.join(expected.labels)}")


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is repaired: which word was meant would be a guess."""
    return answer
