"""What a measured value may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import bounded, tokens_of_answer


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """A number with or without a percent sign."""
    return bounded(r"/-?(0|[1-9][0-9]{0,6})(\.[0-9]{1,20})?%?/", tokens_of_answer(max_new_tokens))
