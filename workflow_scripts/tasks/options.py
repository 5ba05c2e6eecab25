"""Options of a question: what may stand for one, in a source and in an answer."""

import re
from collections.abc import Iterable
from functools import lru_cache

from workflow_scripts.core.answers import BadAnswer
from workflow_scripts.core.rows import ExpectedFormat, Option
from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.questions import CACHED_QUESTIONS, options_in
from workflow_scripts.tasks.source_numbers import SOURCE_LIMIT

NOTHING = frozenset({"", "none", "null", "nan", "n/a"})
"""What sources write for a missing answer, in lower case."""


@lru_cache(maxsize=CACHED_QUESTIONS)
def options_of(question: str) -> tuple[Option, ...]:
    """The lettered options of a question; empty if it lists none."""
    return tuple(Option(letter, text) for letter, text in options_in(question))


def answer_by(options: tuple[Option, ...]) -> str:
    """The scope under which "letter or words" is learned: questions with options, and without."""
    return "with options" if options else "without options"


def is_letter(text: str) -> bool:
    """Whether an answer is a single letter."""
    text = text.strip()
    return len(text) == 1 and text.isalpha()


_LETTERED = re.compile(r"^\(?([A-Za-z])[).:](?:\s|$)")


def letter_before(text: str, options: tuple[Option, ...]) -> str | None:
    """The letter of `D.` and `D) Left`, where that is an option, and no option's own words begin so."""
    lettered = _LETTERED.match(text)
    if lettered is None or squeezed(text) in {squeezed(option.text) for option in options}:
        return None
    return lettered[1].upper() if misfit([text.lstrip("(")], ExpectedFormat(options=options)) is None else None


def in_expected_form(text: str, expected: ExpectedFormat) -> str:
    """The letter or the words of the option that a source names in whatever form; the text itself if it names none."""
    texts = {squeezed(option.text): option for option in expected.options}
    by_letter = {option.letter.upper(): option for option in expected.options}
    letter = text.upper() if is_letter(text) else letter_before(text, expected.options)
    candidates = [texts.get(squeezed(text)), by_letter.get(letter or "")]
    option = next(filter(None, candidates if expected.answer_by == "words" else candidates[::-1]), None)
    if option is None:
        return text
    return option.letter.upper() if expected.answer_by == "letter" else option.text


def source_text(raw: object) -> str:
    """A source's value as text, an integer among them.

    Raises:
        BadAnswer: it is neither.
    """
    if isinstance(raw, str):
        return raw.strip()
    if isinstance(raw, int) and not isinstance(raw, bool) and abs(raw) < SOURCE_LIMIT:
        return str(raw)
    raise BadAnswer("wrong_answer_type", f"expected text, found {type(raw).__name__}")


def misfit(labels: Iterable[str], expected: ExpectedFormat) -> str | None:
    """The first label that is no option's letter or text and none of the admissible labels; None if all fit."""
    allowed = _allowed(expected.options, expected.labels)
    return next((label for label in labels if label.lower() not in allowed), None) if allowed else None


@lru_cache(maxsize=CACHED_QUESTIONS)
def _allowed(options: tuple[Option, ...], labels: tuple[str, ...]) -> frozenset[str]:
    """What a label may be, in lower case."""
    allowed = {label.lower() for label in labels}
    for letter, text in options:
        lettered = (f"{letter}{mark}" for mark in ").:")
        allowed |= {letter.lower(), text.lower()}
        allowed |= {form.lower() for start in lettered for form in (start, f"{start} {text}")}
    return frozenset(allowed)
