"""What an answer about entailment may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import distinct, literal


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """One of the words."""
    return f"start: {' | '.join(map(literal, distinct(expected.labels)))}\n"
