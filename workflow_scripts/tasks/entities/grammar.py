"""What an answer of entities may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.entities.mentions import NONE
from workflow_scripts.tasks.grammars import distinct, literal, tokens_of_answer

WORDS = 16
"""Tokens of the words of an entity."""


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """The word none, or lines of a listed type, a colon and words: as many as fit, a byte of a type being a token."""
    labels = distinct(expected.labels)
    types = " | ".join(map(literal, labels)) or r"/[A-Za-z][A-Za-z0-9_ -]{0,30}/"
    of_type = max((len(label.encode()) for label in labels), default=31) + 3
    size = tokens_of_answer(max_new_tokens)
    words = min(WORDS, size - of_type)
    if words < 1:
        return f'start: "{NONE}"\n'
    most = size // (of_type + words)
    more = f' ("\\n" line){{0,{most - 1}}}' if most > 1 else ""
    return (
        f'start: "{NONE}" | line{more}\nline: type ": " words\ntype: {types}\n'
        f"words[max_tokens={words}]: /[^\\s\\x00-\\x1f\\x7f][^\\x00-\\x1f\\x7f]*/\n"
    )
