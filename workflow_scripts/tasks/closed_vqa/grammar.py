"""What a closed answer may be."""

from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import distinct, literal, running, tokens_of_answer
from workflow_scripts.tasks.vqa.words import MOST_WORDS, is_bounded, words


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """One of the options' letters or words, or of the admissible words; where not all are known, up to five words."""
    by_words = expected.answer_by != "letter"
    texts = distinct(option.text if by_words else option.letter for option in expected.options)
    texts = texts or (distinct(expected.labels) if is_bounded(expected) else [])
    if texts:
        return f"start: {' | '.join(map(literal, texts))}\n"
    return running(words(MOST_WORDS), tokens_of_answer(max_new_tokens))
