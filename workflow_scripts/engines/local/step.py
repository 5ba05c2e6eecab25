"""One decoding step of a batch: a forward pass on buffers that stay in place, replayed as a CUDA graph on a GPU."""

from collections.abc import Callable

import torch

from workflow_scripts.engines.local.key_values import KeyValues


class Step:
    """One decoding step of a batch on its buffers, captured in a CUDA graph at the second call."""

    def __init__(self, forward: Callable, cache: KeyValues) -> None:
        device = cache.place.device
        self._forward, self._cache = forward, cache
        self._start, self._token, self._position = (
            torch.zeros(cache.rows, 1, dtype=torch.long, device=device) for _ in range(3)
        )
        self._warm = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits: torch.Tensor | None = None

    def begin(self, start: torch.Tensor, place: int, position: torch.Tensor) -> None:
        """Set out from slot `place`.

        Args:
            start: first slot of each row, (rows, 1).
            position: position of each row's next token, (rows, 1).
        """
        self._cache.place.fill_(place)
        self._start.copy_(start)
        self._position.copy_(position)

    def skip(self, ended: torch.Tensor) -> None:
        """Spend no attention on rows that have ended (rows,): each of them sees its newest slot alone."""
        self._start.masked_fill_(ended[:, None], torch.iinfo(self._start.dtype).max)

    def __call__(self, token: torch.Tensor) -> torch.Tensor:
        """Logits after `token` (rows,). The next call may write over them."""
        self._token.copy_(token[:, None])
        if self._graph is not None:
            self._graph.replay()
        elif self._warm and token.device.type == "cuda":
            self._graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._graph):
                self._logits = self._advance()
            self._graph.replay()
        else:
            self._logits = self._advance()
            self._warm = True
        return self._logits

    def _advance(self) -> torch.Tensor:
        logits = self._forward(self._token, self._position, self._start, self._cache)
        self._position += 1
        self._cache.place += 1
        return logits
