"""What an encoder reads and says: an example is one text or two, an output is what a head makes of it."""

from typing import NamedTuple

TypedSpan = tuple[int, int, str]
"""Start and end in characters, the end excluded, and a type."""

Output = list[TypedSpan] | str | float | tuple[int, int] | None
"""Typed spans of the first text, a label, a number, or a place in the second text."""


class Example(NamedTuple):
    """One or two texts, and what is to be learned of them: the field that the head is about."""

    first: str
    second: str | None = None
    spans: tuple[TypedSpan, ...] = ()  # of the first text (tokens), or one of the second (span)
    label: str | None = None
    number: float | None = None
