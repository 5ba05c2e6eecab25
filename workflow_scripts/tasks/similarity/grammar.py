"""What a similarity may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import bounded, tokens_of_answer


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """A number from 0 to 999."""
    return bounded(r"/(0|[1-9][0-9]{0,2})(\.[0-9]{1,4})?/", tokens_of_answer(max_new_tokens))
