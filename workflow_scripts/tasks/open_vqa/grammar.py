"""What an open answer may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import running, tokens_of_answer
from workflow_scripts.tasks.vqa.words import words


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """A line of up to fifty words."""
    return running(words(50), tokens_of_answer(max_new_tokens))
