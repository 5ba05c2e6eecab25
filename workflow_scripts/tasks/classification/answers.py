"""Classes as a source writes them: an option's letter, or words."""

import json
from collections import Counter
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat, FormatSource
from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.options import (
    NOTHING,
    answer_by,
    in_expected_form,
    is_letter,
    letter_before,
    misfit,
    options_of,
    source_text,
)
from workflow_scripts.tasks.questions import choices_in

MOST_WORDS = 60
"""A question without options that has more distinct answers than this is an open one: any words will do."""


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """Letter or words, for questions with and without options; and the words that each question without is given."""
    by_letter: dict[bool, Counter[bool]] = {True: Counter(), False: Counter()}
    words: dict[str, Counter[str]] = {}
    for row in rows:
        if not isinstance(row.raw, str) or not row.raw.strip():
            continue
        options = options_of(row.question)
        by_letter[bool(options)][is_letter(row.raw) or letter_before(row.raw.strip(), options) is not None] += 1
        if not options and not choices_in(row.question):  # else the question says what its words are
            words.setdefault(squeezed(row.question), Counter())[row.raw.strip()] += 1
    learned = []
    for listed, votes in by_letter.items():
        if votes:
            letter = votes[True] >= votes[False] if listed else votes[True] > votes[False]
            scope = "with options" if listed else "without options"
            learned.append(
                Learned("answer_by", "letter" if letter else "words", votes[letter], votes.total(), question=scope)
            )
    for question, counted in sorted(words.items()):
        if len(counted) <= MOST_WORDS:
            learned.append(Learned("labels", sorted(counted), counted.total(), counted.total(), question=question))
    return learned


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """A letter or the words of an option that the question lists, else words that the subset answers it with."""
    options, choices = options_of(question), choices_in(question)
    if choices:  # options without letters
        listed = (FormatSource("answer_by", "question"), FormatSource("labels", "question"))
        return ExpectedFormat(answer_by="words", labels=choices, sources=listed)
    known = conventions.get("answer_by") or conventions.get("answer_by", answer_by(options))
    by = str(known.value) if known else "letter" if options else "words"
    sources = [FormatSource("answer_by", known.source if known else "task default")]
    labels: tuple[str, ...] = ()
    if options:
        sources.append(FormatSource("options", "question"))
    elif words := conventions.get("labels", squeezed(question)):
        labels = tuple(words.value)  # type: ignore[arg-type]
        sources.append(FormatSource("labels", words.source))
    return ExpectedFormat(answer_by=by, options=options, labels=labels, sources=tuple(sources))


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """A letter or words; an option may be called None, and then it is an answer.

    Raises:
        BadAnswer: there is none, or it is no text.
    """
    nothing = raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING)
    named = isinstance(raw, str) and raw.strip() and expected.options and misfit([raw.strip()], expected) is None
    if nothing and not named:
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    text = source_text(raw)
    if expected.options:
        text = in_expected_form(text, expected)  # `D.` and `D) Melanoma` are the letter D, or the words Melanoma
    return Answer(text, labels=(text,))


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """An answer that is none of the question's options."""
    if not expected.options and not any(source == ("labels", "question") for source in expected.sources):
        return None
    wrong = misfit(answer.labels or (), expected)
    return None if wrong is None else Fault("answer_not_an_option", f"{wrong!r} is none of the question's options")


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is repaired: which option was meant would be a guess."""
    return answer
