"""Options of a question: what may stand for one, in a source and in an answer."""

from collections.abc import Iterable
from functools import lru_cache

from workflow_scripts.core.answers import BadAnswer
from workflow_scripts.core.rows import ExpectedFormat, Option
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
