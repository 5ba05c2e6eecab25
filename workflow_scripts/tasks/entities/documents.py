"""The layout of a question about a text: what is to be done, lines of lists, and the text after the line `Text:`.

    Which entities does the text name? …
    Types: Drug; Dose

    Text:
    Aspirin 81 mg daily.

The text is all that follows the first line that says `Text:` alone; offsets of answers count its characters from 0.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from workflow_scripts.tasks.entities.mentions import Entity

TEXT = "Text:"
TYPES = "Types:"
_TEXT = re.compile(rf"^{TEXT}[ \t]*\r?\n", re.MULTILINE)


def question_about(text: str, instruction: str, *lines: str) -> str:
    """A question about `text`: an instruction, lines of lists, and the text."""
    return "\n".join([instruction, *lines, "", TEXT, text])


def text_of(question: str) -> str | None:
    """The text that a question is about; None where no line says where it begins."""
    start = _TEXT.search(question)
    return question[start.end() :] if start else None


def before_text(question: str) -> str:
    """The question without its text."""
    start = _TEXT.search(question)
    return (question[: start.start()] if start else question).strip()


def types_in(question: str) -> tuple[str, ...]:
    """The types that the question's line `Types:` lists, split at `;`; none where it has no such line."""
    head = before_text(question)
    line = next((line for line in head.splitlines() if line.startswith(TYPES)), TYPES)
    return tuple(dict.fromkeys(name.strip() for name in line[len(TYPES) :].split(";") if name.strip()))


class Relation(NamedTuple):
    """A typed relation of two entities of one text, which their names stand for."""

    type: str
    head: str
    tail: str


class AnnotatedText(NamedTuple):
    """A text, or a window of one, with what is annotated in it; places count the text's own characters."""

    text: str
    entities: Mapping[str, Entity]  # by the name that the source gives it: T1
    relations: tuple[Relation, ...] = ()
