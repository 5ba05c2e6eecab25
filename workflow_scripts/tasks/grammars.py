"""What the grammars of tasks share: Lark text in llguidance's dialect that bounds an answer.

A grammar knows the row's expected format and the size of its images. Rows that ask in the same way get the same text,
so that a compiled grammar serves them all. Numbers, boxes and instances end by themselves within the limit: their
longest text has fewer bytes than the limit has tokens. Label lists are bounded by their count, running text by
llguidance's own count of tokens.
"""

import json
from collections.abc import Iterable, Sequence

from workflow_scripts.core.rows import Image

LINE = r"[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*"
TEXT = r"[^\s\x00-\x1f\x7f]?[^\x00-\x1f\x7f]{0,12}\p{L}\p{L}[^\x00-\x09\x0b-\x1f\x7f]*"
r"""Text with a word near its beginning, without ASCII's control characters; real notes hold `\x92` as an apostrophe."""


def tokens_of_answer(max_new_tokens: int) -> int:
    """Tokens that are left for the answer itself, beside the one that ends it."""
    return max(2, max_new_tokens - 1)


def bounded(form: str, size: int) -> str:
    """`form` in at most `size` bytes of ASCII: what could not be closed in time is not begun."""
    return f"start: ANSWER\nANSWER: FORM & /[ -~]{{0,{size}}}/\nFORM: {form}\n"


def running(pattern: str, size: int) -> str:
    """Text of at most `size` tokens."""
    return f"start: text\ntext[max_tokens={size}]: /{pattern}/\n"


def literal(text: str) -> str:
    """A string of the grammar."""
    return json.dumps(text)


def distinct(texts: Iterable[str]) -> list[str]:
    """Texts that are not empty, in their order, each once whatever its case and spaces."""
    first: dict[str, str] = {}
    for text in texts:
        first.setdefault(" ".join(text.split()).casefold(), text.strip())
    return [text for key, text in first.items() if key]


def box_rules(images: Sequence[Image]) -> str:
    """A box as JSON: numbers of as many digits as the largest image has, and up to three decimals."""
    numbers = []
    for name, sides in (("X", [image.width for image in images]), ("Y", [image.height for image in images])):
        digits = len(str(max(sides, default=9999)))
        numbers.append(f"{name}: /(0|[1-9][0-9]{{0,{digits - 1}}})(\\.[0-9]{{1,3}})?/\n")
    return 'BOX: "[" X ", " Y ", " X ", " Y "]"\n' + "".join(numbers)
