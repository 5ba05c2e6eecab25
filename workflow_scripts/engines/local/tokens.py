"""Lists of tokens: what prompts begin with, which are computed together, where an answer ends."""

from collections.abc import Container, Sequence


def common_beginning(prompts: Sequence[list[int]]) -> list[int]:
    """The longest list of tokens that all prompts begin with."""
    lowest, highest = min(prompts), max(prompts)  # whatever these two share, those between them do
    end = next((n for n, (one, two) in enumerate(zip(lowest, highest, strict=False)) if one != two), len(lowest))
    return lowest[:end]


def up_to_stop(tokens: list[int], stops: Container[int]) -> list[int]:
    """`tokens` up to and with the first that ends an answer."""
    return tokens[: next((place for place, token in enumerate(tokens) if token in stops), len(tokens)) + 1]


def parts_of(lengths: Sequence[int], most: int, slower: int = 1) -> list[tuple[int, int]]:
    """Where parts of a list of prompts begin and end, each of at most so many tokens with its padding, or one prompt.

    Args:
        slower: the first part has a share of `most` alone: one of so many.
    """
    parts, first, limit = [], 0, most // slower
    for place in range(1, len(lengths) + 1):
        if place == len(lengths) or (place + 1 - first) * max(lengths[first : place + 1]) > limit:
            parts.append((first, place))
            first, limit = place, most
    return parts
