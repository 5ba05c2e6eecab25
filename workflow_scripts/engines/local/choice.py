"""How the next token of each row is chosen: the likeliest, or one that is drawn at a temperature."""

from collections.abc import Callable, Sequence

import torch

Choose = Callable[[torch.Tensor, Sequence[int], int | Sequence[int]], torch.Tensor]
"""From logits (rows, vocabulary), each row's place among the answers, and how many tokens each has, or all have, to one
token a row (rows,)."""

ROWS = 64
"""Rows whose distributions are held in double precision at a time: of 262,144 tokens, 128 MiB each way."""


def greedily(logits: torch.Tensor, rows: Sequence[int], length: int | Sequence[int]) -> torch.Tensor:
    """The likeliest token of each row; the lowest of equals."""
    return logits.argmax(-1)


class Draws:
    """Draws tokens, for each row from its own generator: its company in a batch changes no draw.

    Args:
        seeds: of the rows of a batch.
        tokens: most new tokens of each.
        temperature: what logits are divided by.
        top_p: the likeliest tokens that hold so much probability are drawn from; 1: all.
    """

    def __init__(self, seeds: Sequence[int], tokens: int, temperature: float, top_p: float = 1.0) -> None:
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        self._shares = torch.stack([torch.rand(tokens, generator=one, dtype=torch.float64) for one in generators])
        self._temperature, self._top_p = temperature, top_p

    def __call__(self, logits: torch.Tensor, rows: Sequence[int], length: int | Sequence[int]) -> torch.Tensor:
        """One token a row (rows,): the first up to which the probabilities (rows, vocabulary) sum to more than a share.

        The sums are of double precision, in which no token of a large vocabulary is lost.
        """
        lengths = length if isinstance(length, int) else list(length)
        shares = self._shares[list(rows), lengths][:, None].to(logits.device)
        parts = zip(logits.split(ROWS), shares.split(ROWS), strict=True)
        return torch.cat([self._chosen(some, share) for some, share in parts])

    def _chosen(self, logits: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
        likely = torch.softmax(logits.double() / self._temperature, -1)
        if self._top_p < 1:
            ordered, places = likely.sort(-1, descending=True)
            before = ordered.cumsum(-1) - ordered  # the likeliest token always stays
            likely = likely.scatter(-1, places, ordered.masked_fill(before >= self._top_p, 0.0))
        summed = likely.cumsum(-1)
        return torch.searchsorted(summed, shares * summed[:, -1:], right=True)[:, 0].clamp(max=logits.shape[-1] - 1)
