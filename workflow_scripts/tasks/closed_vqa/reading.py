"""Closed answers as models write them: yes or no, a letter, or the words of an alternative, alone or in prose."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.classification import reading as choices
from workflow_scripts.tasks.language.refusals import REFUSAL
from workflow_scripts.tasks.language.text import LONGEST, squeezed
from workflow_scripts.tasks.vqa.words import MOST_WORDS, is_bounded
from workflow_scripts.tasks.vqa.yes_no import YES_NO, said_yes_or_no

_AROUND = re.compile(r"a|an|answer|at|here|i|image|in|is|its?|of|on|see|shown|shows|that|the|there|this|was")
"""Words beside an alternative that add nothing to it."""


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """A letter or admissible words as the format asks; where not all are known, a line of at most five words too.

    Case and white space are free. A line that says an admissible word and nothing else is prose: "It is CT."
    """
    if expected.options or expected.labels:
        known = choices.read_strict(expected, text)
        if known is not None or is_bounded(expected) or _says_a_label(expected, text):
            return known
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
    return choices.read_lenient(expected, text) if expected.options else _stated(expected, text)


def _says_a_label(expected: ExpectedFormat, text: str) -> bool:
    label = _stated(expected, text)
    if label is None:
        return False
    beside = set(re.findall(r"\w+", text.casefold())) - set(re.findall(r"\w+", str(label).casefold()))
    return squeezed(str(label)) in YES_NO or all(map(_AROUND.fullmatch, beside))


def _stated(expected: ExpectedFormat, text: str) -> Value | None:
    """The yes or no, or the alternative, that a text states."""
    spelled = {squeezed(label): label for label in expected.labels if squeezed(label) in YES_NO}
    others = tuple(label for label in expected.labels if squeezed(label) not in YES_NO)
    said = said_yes_or_no(text) if spelled else None
    if said is not None:
        return spelled.get(said)
    return choices.read_lenient(expected._replace(labels=others), text) if others else None


def reference(row: Row) -> Value:
    """The letter in upper case, or the words."""
    return choices.reference(row)
