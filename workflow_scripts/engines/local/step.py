"""One decoding step of a batch: a forward pass on buffers that stay in place, replayed as a CUDA graph on a GPU."""

from collections.abc import Callable

import torch

from workflow_scripts.engines.local.key_values import KeyValues


class Step:
    """One decoding step of rows on their buffers, captured in a CUDA graph at the second call.

    Args:
        position: of each row's next token, (rows, 1).
    """

    def __init__(self, forward: Callable, cache: KeyValues, position: torch.Tensor) -> None:
        self.moves = cache.moves
        self.position = position.clone()
        self._forward, self._cache = forward, cache
        self._token = torch.zeros_like(position)
        self._warm = False
        self._graph: torch.cuda.CUDAGraph | None = None
        self._logits: torch.Tensor | None = None

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
        logits = self._forward(self._token, self.position, self._cache)
        self.position += 1
        self._cache.count += 1
        return logits
