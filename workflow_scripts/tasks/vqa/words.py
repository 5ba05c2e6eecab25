"""Words of a short answer: when they are known, how many there may be where not, and the pattern of their line."""

from workflow_scripts.core.rows import ExpectedFormat

MOST_WORDS = 5
"""Of an answer to a question whose admissible words are not known, or not all of them."""

_LEARNED = frozenset({"training rows", "other rows"})

_LETTERS = r"[^\s\x00-\x1f\x7f]"


def words(most: int) -> str:
    """Up to `most` words with single spaces between them; a letter or a digit stands near the beginning."""
    return rf"[^\s\x00-\x1f\x7fa-zA-Z0-9]{{0,3}}[\p{{L}}\p{{N}}]{_LETTERS}*( {_LETTERS}+){{0,{most - 1}}}"


def is_bounded(expected: ExpectedFormat) -> bool:
    """Whether nothing but the options and the labels may be right: they do not come from training rows alone."""
    of_labels = {source for field, source in expected.sources if field == "labels"}
    return bool(expected.options or expected.labels) and not (of_labels and of_labels <= _LEARNED)
