"""What a class answer may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import LINE, distinct, literal, running, tokens_of_answer


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """One of the options' letters or words; where the question lists none, a capital letter or a line."""
    by_words = expected.answer_by == "words"
    texts = distinct(option.text if by_words else option.letter for option in expected.options)
    if texts:
        return f"start: {' | '.join(map(literal, texts))}\n"
    return running(LINE, tokens_of_answer(max_new_tokens)) if by_words else "start: /[A-Z]/\n"
