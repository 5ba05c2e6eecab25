"""The letter A of an option, which is no article where a reference is a letter."""

import re

from workflow_scripts.tasks.options import is_letter

MARK = "\ue000"
"""Stands for the letter A in texts that lose their articles: no text has this sign, and no rule of a protocol does."""
_ALONE = re.compile(r"\W*a\W*", re.IGNORECASE)
_LETTER = re.compile(r"(?<![\w'’-])A(?![\w'’-])(?!\s+(?!(?:is|because)\b)[a-z])")
"""A capital A that no word follows as after an article: "A mass" has none, "A) mass" and "A is right" have one."""


def letters_marked(reference: str, answer: str) -> tuple[str, str]:
    """Reference and answer with each letter A as `MARK`, where the reference is a letter; else as they are."""
    return (_marked(reference), _marked(answer)) if is_letter(reference) else (reference, answer)


def _marked(text: str) -> str:
    if _ALONE.fullmatch(text):
        return re.sub("a", MARK, text, flags=re.IGNORECASE)
    return _LETTER.sub(MARK, text)
