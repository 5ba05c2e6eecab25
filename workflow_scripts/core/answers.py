"""What the parts of a task and their users exchange: source answers, typed answers, faults, learned conventions.

`final_answer` cuts what a model thought before it answered: MedGemma 1.5 may think between `<unused94>thought` and
`<unused95>`, others between `<think>` and `</think>`. What stands in a thought is no answer; a thought that never ends
leaves none.
"""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from workflow_scripts.core.rows import Box, Convention, ExpectedFormat, Instance, Row

Corners = list[float]
"""A box that was read: `[x1, y1, x2, y2]` in pixels of the original image."""
Value = str | list[str] | list[Corners] | dict[str, list[Corners]] | float
"""An answer that was read; its form follows from the task."""


class BadAnswer(Exception):
    """An answer is not what its task asks for; `reason` is one of `data.conversion.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class SourceAnswer(NamedTuple):
    """Question and answer as a source writes them."""

    question: str
    raw: object


class Answer(NamedTuple):
    """An answer as text to learn, and typed; fields of other tasks are None."""

    text: str
    labels: tuple[str, ...] | None = None
    number: float | None = None
    boxes: tuple[Box, ...] | None = None
    instances: tuple[Instance, ...] | None = None


class Fault(NamedTuple):
    """Why a typed answer does not go with its question or its image; a policy of the dataset decides what is done."""

    reason: str  # also the policy's name
    detail: str


class Learned(NamedTuple):
    """A convention as the rows of a subset show it."""

    field: str  # of ExpectedFormat
    value: object
    votes: int  # rows that agree
    rows: int  # rows that say something about it
    question: str = ""  # where it holds for one question alone


class Known(NamedTuple):
    """A convention's value and where it came from."""

    value: object
    source: str


class Conventions:
    """The conventions of one task in one subset."""

    def __init__(self, entries: Iterable[tuple[Convention, object]] = ()) -> None:
        self._known = {(entry.field, entry.question): Known(value, entry.source) for entry, value in entries}

    def get(self, field: str, question: str = "") -> Known | None:
        """The value of a field, of one question where it is named; None where nothing is known."""
        return self._known.get((field, question))


class AnswersPart(Protocol):
    """The module `answers` of a task."""

    def conventions(self, rows: Sequence[SourceAnswer]) -> list[Learned]:
        """What the rows of a subset show of its conventions."""

    def expected_format(self, question: str, conventions: Conventions) -> ExpectedFormat:
        """The form of answer that a question asks for."""

    def parse(self, raw: object, expected: ExpectedFormat) -> Answer:
        """Type a source's value; raises BadAnswer."""

    def fault(self, answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
        """Why the answer does not go with its question or its first image of `width` × `height` pixels."""

    def repaired(self, answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
        """The answer as a policy `repair` writes it; None where nothing is left of it."""


class ReadingPart(Protocol):
    """The module `reading` of a task."""

    def read_strict(self, expected: ExpectedFormat, text: str) -> Value | None:
        """The value of an answer in exactly the expected format, or None; raises nothing."""

    def read_lenient(self, expected: ExpectedFormat, text: str) -> Value | None:
        """The value that an answer means to a person, or None; what is read strictly is read the same."""

    def reference(self, row: Row) -> Value:
        """The reference answer of a row in the form that the readers return."""


_THOUGHT_OR_END = re.compile(
    r"(?P<open><unused94>|<(?:think|thinking|thought|reasoning)>)|(?P<close><unused95>|</(?:think|thinking|thought|reasoning)>)"
    r"|<end_of_turn>|<\|im_end\|>|<\|eot_id\|>|<\|endoftext\|>|<\|end\|>|<eos>|</s>",
    re.IGNORECASE,
)


class FinalAnswer(NamedTuple):
    """What is read and judged of an answer."""

    text: str
    thought: bool  # a thought was cut
    unfinished: bool  # a thought never ended: the answer is truncated
    after_turn: bool  # text after the end of the turn was cut


def final_answer(text: str) -> FinalAnswer:
    """Cut thoughts and what follows the end of the turn. Text without either comes back unchanged."""
    if "<" not in text:
        return FinalAnswer(text, False, False, False)
    parts: list[str] = []
    thought = inside = marked = after_turn = False
    start = 0
    for mark in _THOUGHT_OR_END.finditer(text):
        marked = True
        if mark["open"]:
            if not inside:
                parts.append(text[start : mark.start()])
            thought = inside = True
        elif mark["close"]:
            if not inside:  # the opening mark was part of the prompt
                parts.clear()
            thought, inside, start = True, False, mark.end()
        else:
            if not inside:
                parts.append(text[start : mark.start()])
            after_turn = bool(text[mark.end() :].strip())
            break
    else:
        if not inside:
            parts.append(text[start:])
    answer = "".join(parts)
    return FinalAnswer(answer.strip() if marked else answer, thought, inside, after_turn)
