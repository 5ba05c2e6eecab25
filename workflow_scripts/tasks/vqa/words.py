"""The pattern of a line of some words, in the dialect of grammars."""

_LETTERS = r"[^\s\x00-\x1f\x7f]"


def words(most: int) -> str:
    """Up to `most` words with single spaces between them; a letter or a digit stands near the beginning."""
    return rf"[^\s\x00-\x1f\x7fa-zA-Z0-9]{{0,3}}[\p{{L}}\p{{N}}]{_LETTERS}*( {_LETTERS}+){{0,{most - 1}}}"
