"""What a count may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import tokens_of_answer


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """A whole number of at most seven digits."""
    return f"start: COUNT\nCOUNT: /0|[1-9][0-9]{{0,{min(7, tokens_of_answer(max_new_tokens)) - 1}}}/\n"
