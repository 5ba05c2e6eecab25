"""What an answer from a text may be."""

import json
from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import tokens_of_answer
from workflow_scripts.tasks.span_qa.spans import UNANSWERABLE


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """Words of the text, one after another; or `unanswerable`."""
    return (
        f'start: "{UNANSWERABLE}" | words\nwords[max_tokens={tokens_of_answer(max_new_tokens)}]: ANSWER\n'
        "ANSWER: WORDS & /[^\\s](.|\\n)*/\n"
        f'WORDS: %regex {{"substring_words": {json.dumps(expected.text or UNANSWERABLE, ensure_ascii=False)}}}\n'
    )
