"""What a probability may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import bounded, tokens_of_answer


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """0% to 100% with up to six decimals, or a fraction from 0 to 1."""
    form = r"/((0|[1-9][0-9]?)(\.[0-9]{1,6})?|100)%/" if expected.percent else r"/(0(\.[0-9]{1,8})?|1)/"
    return bounded(form, tokens_of_answer(max_new_tokens))
