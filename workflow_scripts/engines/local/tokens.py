"""Lists of tokens: what prompts begin with, where an answer ends."""

from collections.abc import Container, Sequence


def common_beginning(prompts: Sequence[list[int]]) -> list[int]:
    """The longest list of tokens that all prompts begin with."""
    lowest, highest = min(prompts), max(prompts)  # whatever these two share, those between them do
    end = next((n for n, (one, two) in enumerate(zip(lowest, highest, strict=False)) if one != two), len(lowest))
    return lowest[:end]


def up_to_stop(tokens: list[int], stops: Container[int]) -> list[int]:
    """`tokens` up to and with the first that ends an answer."""
    return tokens[: next((place for place, token in enumerate(tokens) if token in stops), len(tokens)) + 1]
