"""What a list of boxes may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import bounded, box_rules, tokens_of_answer


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """A JSON list of boxes, the empty one among them."""
    return bounded('"[" (BOX (", " BOX)*)? "]"', tokens_of_answer(max_new_tokens)) + box_rules(images)
