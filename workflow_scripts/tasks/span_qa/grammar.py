"""What an answer from a text may be."""

import json
from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat, Image
from workflow_scripts.tasks.grammars import tokens_of_answer
from workflow_scripts.tasks.span_qa.spans import UNANSWERABLE


def grammar(expected: ExpectedFormat, images: Sequence[Image], max_new_tokens: int) -> str:
    """Words of the text, one after another, of no more bytes than the limit has tokens; or `unanswerable`."""
    text = expected.text or UNANSWERABLE
    most = max(1, tokens_of_answer(max_new_tokens) // max(len(sign.encode()) for sign in text))
    return (
        f'start: "{UNANSWERABLE}" | ANSWER\n'
        f"ANSWER: WORDS & /[^\\s](.|\\n){{0,{most - 1}}}/\n"
        f'WORDS: %regex {{"substring_words": {json.dumps(text, ensure_ascii=False)}}}\n'
    )
