"""What boxes by identity may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import bounded, box_rules, tokens_of_answer

_CLASS = """CLASS: KEY ": [" BOX (", " BOX)* "]"
KEY: /"[A-Za-z0-9]([A-Za-z0-9 _-]{0,14}[A-Za-z0-9])?"/
"""
"""An identity and its boxes. No question lists the identities, so that any short name is one."""


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """A JSON object of lists of boxes, the empty one among them."""
    form = bounded('"{" (CLASS (", " CLASS)*)? "}"', tokens_of_answer(max_new_tokens))
    return form + _CLASS + box_rules(images)
