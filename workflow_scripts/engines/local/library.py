"""Decoding by the library's own `generate`, for models whose layers keep more than keys and values."""

import sys
from collections.abc import Callable, Sequence

import torch
from transformers import LogitsProcessor, LogitsProcessorList, PreTrainedModel

from workflow_scripts.core.command import Refused
from workflow_scripts.engines.local.choice import Choose
from workflow_scripts.engines.local.decoding import PromptInputs
from workflow_scripts.engines.local.tokens import up_to_stop


class _Chosen(LogitsProcessor):
    """Leaves of each row's logits the token that `choose` takes: the library's greedy loop then takes it too."""

    def __init__(self, choose: Choose, prompt: int) -> None:
        self._choose, self._prompt = choose, prompt

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        token = self._choose(scores, range(len(scores)), input_ids.shape[1] - self._prompt)
        return torch.full_like(scores, float("-inf")).scatter(1, token[:, None], 0.0)


class LibraryDecoder:
    """Generation as `Decoder` does it, several times slower; prompts are padded on the left.

    Args:
        model: the network without an adapter's wrapper.
        pad: token that fills up short prompts.
        stops: tokens that end an answer.
        first_position: of a prompt's first token; models decoded here count from 0.
    """

    def __init__(self, model: PreTrainedModel, pad: int, stops: set[int], first_position: int = 0) -> None:
        if first_position:
            raise ValueError("the library counts positions from 0")
        self._model, self._pad, self._stops = model, pad, sorted(stops)

    def rows_that_fit(self, slots: int) -> int:
        """Any number: a batch that is too large is halved when it does not fit."""
        return sys.maxsize

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[list[int]],
        max_new_tokens: int,
        *,
        inputs: PromptInputs | None = None,
        choose: Choose | None = None,
        accept: Callable | None = None,
        keep: Callable | None = None,
    ) -> list[list[int]]:
        """New tokens of each prompt, at most `max_new_tokens`, up to and with the stop token.

        Raises:
            Refused: a grammar is to bound the answers, which the library's loop knows nothing of.
        """
        if accept is not None:
            raise Refused("this model is decoded by the library, which no grammar bounds: set `constrained: false`")
        longest = max(map(len, prompts))
        rows = [[self._pad] * (longest - len(prompt)) + prompt for prompt in prompts]
        ids = torch.tensor(rows, device=self._model.device)
        starts = torch.tensor([longest - len(prompt) for prompt in prompts], device=ids.device)[:, None]
        mask = (torch.arange(longest, device=ids.device) >= starts).long()
        out = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
            eos_token_id=self._stops,
            pad_token_id=self._pad,
            logits_processor=None if choose is None else LogitsProcessorList([_Chosen(choose, longest)]),
            **(inputs(0, len(prompts), ids, mask) if inputs is not None else {}),
        )
        return [up_to_stop(tokens, self._stops) for tokens in out[:, longest:].tolist()]
