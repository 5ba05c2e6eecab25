"""Closed answers as models write them: yes or no, a letter, or the words of an alternative, alone or in prose."""

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.classification import reading as choices
from workflow_scripts.tasks.language.refusals import REFUSAL
from workflow_scripts.tasks.language.text import LONGEST, squeezed
from workflow_scripts.tasks.vqa.yes_no import YES_NO, said_yes_or_no

MOST_WORDS = 5
"""Of an answer to a question whose admissible words are not known."""


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """A letter or admissible words as the format asks; where none are known, a line of at most five words.

    Case and white space are free.
    """
    if expected.options or expected.labels:
        return choices.read_strict(expected, text)
    text = text.strip()
    if len(text) > LONGEST or "\n" in text or not 0 < len(text.split()) <= MOST_WORDS or REFUSAL.search(text):
        return None
    return text if any(letter.isalnum() for letter in text) else None


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The option, the yes or no, or the alternative that a text states; None where it states none or more than one.

    "There is no fracture" says neither yes nor no: the reader does not know the question.
    """
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    if expected.options:
        return choices.read_lenient(expected, text)
    spelled = {squeezed(label): label for label in expected.labels if squeezed(label) in YES_NO}
    others = tuple(label for label in expected.labels if squeezed(label) not in YES_NO)
    said = said_yes_or_no(text) if spelled else None
    if said is not None:
        return spelled.get(said)
    return choices.read_lenient(expected._replace(labels=others), text) if others else None


def reference(row: Row) -> Value:
    """The letter in upper case, or the words."""
    return choices.reference(row)
