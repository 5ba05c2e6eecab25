"""What an answer in free text may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import TEXT, running, tokens_of_answer


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """Any text without control characters."""
    return running(TEXT, tokens_of_answer(max_new_tokens))
