"""Log-probabilities of the tokens that are learned, without waiting for the device.

TRL's head picks learned places by a mask, so that the processor waits until the device knows how many there are, and
the device then waits for what the processor has yet to launch. Here a batch says which they are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers import PreTrainedModel
from trl.kernels import ChunkedLogProbFunction

TILE = 32_768
"""Words of the vocabulary whose logits are in memory at a time, as TRL has it."""


class LearnedTokens(NamedTuple):
    """What the model says of the tokens that are learned, (tokens,) each."""

    log_probs: torch.Tensor
    entropy: torch.Tensor
    right: torch.Tensor  # whether the token is the most likely one


class LearnedHead:
    """A model's `forward` that takes `learned` too, and then gives `LearnedTokens`.

    Args:
        base: without scales of logits; a soft cap is heeded.
    """

    def __init__(self, base: PreTrainedModel) -> None:
        self._base, self._forward = base, base.forward
        self._cap: float | None = getattr(base.config.get_text_config(), "final_logit_softcapping", None)

    def __call__(self, *args: Any, learned: torch.Tensor | None = None, **options: Any) -> Any:
        """With `learned`, (tokens,) places of the flat batch whose next tokens `labels` has; else the model's own."""
        if learned is None:
            return self._forward(*args, **options)
        labels = options.pop("labels")
        states = self._base.base_model(*args, use_cache=False, **options).last_hidden_state
        states = states.flatten(0, 1).index_select(0, learned)
        targets = labels.flatten().index_select(0, learned + 1)
        head = self._base.get_output_embeddings()
        apply: Callable[..., tuple[torch.Tensor, ...]] = ChunkedLogProbFunction.apply
        log_probs, entropy, _, _, right = apply(
            states, head.weight, head.bias, targets, 1.0, TILE, self._cap, 1.0, ("entropy", "is_top1")
        )
        return LearnedTokens(log_probs, entropy, right)
