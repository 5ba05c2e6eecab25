"""Decoding a batch token by token: one pass over the prompts, then one step a token on buffers that stay in place.

Tokens that all prompts begin with are computed once, and their keys and values are kept once. On a GPU a step is
captured once in a CUDA graph and replayed: launched one by one, the kernels of 34 layers take three to four times as
long as they compute. Answers come in stretches: between two of them, rows that have ended
leave, and the buffers grow for the rows that are left. The arithmetic is the model's own `forward`.
"""

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import torch
from transformers import PreTrainedModel

from workflow_scripts.engines.local.choice import Choose, further, greedily
from workflow_scripts.engines.local.key_values import KeyValues, Prefix
from workflow_scripts.engines.local.step import Step
from workflow_scripts.engines.local.tokens import common_beginning, up_to_stop

PREFILL_TOKENS = 1 << 15
"""Prompt tokens computed at once: enough to fill a GPU, little enough that only keys and values fill its memory."""

STRETCH = 128
"""Tokens between two moments at which ended rows leave: on a CPU at most so many, on a GPU at least."""

LOOK = 8
"""Tokens between two looks whether every row has ended: each look waits for the GPU."""

SHARED = 32
"""Fewest tokens at the beginning of all prompts that are worth a pass of their own."""

KERNEL_WIDTHS = (16, 32, 64, 128, 256)
"""Widths of a head that the kernels here take; others are left to the library's attention."""

SLOTS = "slots"
"""Name of `engines.local.slot_attention`, which needs a GPU to be imported."""

PromptInputs = Callable[[int, int, torch.Tensor, torch.Tensor], dict]
"""What `forward` takes besides, for the prompts from one place up to another, given their ids and masks.

`position_ids` among it, of one or several axes, replace those that simply count."""


class Decoder:
    """Generates from one model; prompts are padded on the left.

    Args:
        model: the network without an adapter's wrapper; adapters inside its layers are fine.
        pad: token that fills up short prompts.
        stops: tokens that end an answer.
        first_position: position of a prompt's first token.
        memory_share: what keys and values may fill of a GPU's free memory.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pad: int,
        stops: set[int],
        first_position: int = 0,
        memory_share: float = 2 / 3,
    ) -> None:
        self._model, self._pad = model, pad
        self._stops = stops
        self._first = first_position
        self._memory_share = memory_share
        self._config = model.config.get_text_config()
        self._layers = model.get_decoder()
        self._head = model.get_output_embeddings()
        config = self._config
        heads = config.num_attention_heads
        self._kv_heads = getattr(config, "num_key_value_heads", None) or heads
        self._width = getattr(config, "head_dim", None) or config.hidden_size // heads
        self._ranged = (
            model.device.type == "cuda"
            and model.dtype.itemsize == 2
            and config._attn_implementation in ("sdpa", SLOTS)
            and self._width in KERNEL_WIDTHS
        )
        if self._ranged:
            from workflow_scripts.engines.local import slot_attention  # noqa: F401 - registers itself

            self._config._attn_implementation = SLOTS
        # A window that some or all layers have: which kinds of layers there are, or else one window for all.
        kinds = getattr(config, "layer_types", None)
        self._window = None if kinds else getattr(config, "sliding_window", None)
        # Only what every token attends to, whatever its place, can be shared by prompts.
        self._shares = self._window is None and "sliding_attention" not in (kinds or [])
        self._prefix: Prefix | None = None  # of the last batch
        self._last: tuple[tuple[int, int, Prefix | None], KeyValues, Step] | None = None  # batch, for the next

    @torch.inference_mode()
    def generate(
        self,
        prompts: Sequence[list[int]],
        max_new_tokens: int,
        *,
        inputs: PromptInputs | None = None,
        choose: Choose = greedily,
        accept: Callable[[list[int]], None] | None = None,
        keep: Callable[[list[int]], None] | None = None,
        fixed: bool = False,
        copies: Sequence[int] | None = None,
    ) -> list[list[int]]:
        """New tokens of each prompt, at most `max_new_tokens`, up to and with the stop token.

        Args:
            copies: how many answers each prompt gets, one after the other; its keys and values are computed once. What
                is said of rows and prompts elsewhere is then said of answers. None: one each.
            accept: called with the tokens of each step, one a row.
            keep: called with the places, within the last batch, of the rows that stay when others have ended.
            fixed: generate exactly `max_new_tokens` tokens (for timing).
        """
        device = self._model.device
        prefix = self._prefix_of(prompts) if inputs is None and self._shares else None
        common = len(prefix.tokens) if prefix is not None else 0
        longest = max(map(len, prompts)) - common
        ids = torch.tensor([[self._pad] * (longest + common - len(prompt)) + prompt[common:] for prompt in prompts])
        lead = 0 if self._ranged else common
        start = torch.tensor([longest + common - len(prompt) + lead for prompt in prompts], device=device)[:, None]
        answered = len(prompts) if copies is None else sum(copies)
        stretch = self._stretch(answered, lead + longest, max_new_tokens)
        slots = -(-(lead + longest + stretch) // 64) * 64
        cache, step = self._take(len(prompts), slots, prefix)
        logits, after = self._prefill(ids.to(device), start - lead, cache, inputs)
        if copies is not None:
            own = torch.repeat_interleave(torch.tensor(copies, device=device))
            logits, start, after = logits[own], start[own], after[own]
            cache.select(own, slots)
            del step
            step = Step(self._forward, cache)
            prompts = [prompts[place] for place in own.tolist()]

        stops = torch.tensor([] if fixed else sorted(self._stops), dtype=torch.long, device=device)
        answers: list[list[int]] = [[] for _ in prompts]
        rows = list(range(len(prompts)))
        length = 0
        aside: list[int] = []
        while True:
            place = lead + longest + length
            step.begin(start, place, after + length)
            ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
            taken = []
            for count in range(1, stretch + 1):
                token = choose(logits, rows, length + count - 1)
                taken.append(token)
                ended |= torch.isin(token, stops)
                if accept is not None:
                    accept(token.tolist())
                if length + count == max_new_tokens:
                    break
                if count % LOOK == 0:
                    if bool(ended.all()):
                        break
                    step.skip(ended)
                logits = step(token)
            length += len(taken)
            for row, tokens in zip(rows, torch.stack(taken, 1).tolist(), strict=True):
                answers[row] += tokens
            left = torch.nonzero(~ended)[:, 0]
            if length == max_new_tokens or not len(left):
                reusable = copies is None and length == len(taken)
                self._last = ((len(prompts), slots, prefix), cache, step) if reusable else None
                break
            del step  # its graph goes, and the memory it holds
            if accept is None and inputs is None:  # others could not be put together anew
                fitting = self.rows_that_fit(
                    lead + longest + length + min(STRETCH, max_new_tokens - length), cache.size
                )
                aside += [rows[place] for place in left[fitting:].tolist()]
                left = left[:fitting]
            logits, start, after = logits[left], start[left], after[left]
            stretch = self._stretch(len(left), lead + longest + length, max_new_tokens - length, cache.size)
            cache.select(left, lead + longest + length + stretch)
            step = Step(self._forward, cache)
            places = left.tolist()
            rows = [rows[place] for place in places]
            if keep is not None:
                keep(places)
        del cache, step
        while aside:
            # Rows that were put aside together have as many tokens.
            length = len(answers[aside[0]])
            fitting = self.rows_that_fit(len(prompts[aside[0]]) + length + min(STRETCH, max_new_tokens - length))
            some = [row for row in aside[:fitting] if len(answers[row]) == length]
            del aside[: len(some)]
            whole = [prompts[row] + answers[row] for row in some]
            more = self.generate(whole, max_new_tokens - length, choose=further(choose, some, length), fixed=fixed)
            for row, tokens in zip(some, more, strict=True):
                answers[row] += tokens
        return answers if fixed else [up_to_stop(tokens, self._stops) for tokens in answers]

    def slots_of(self, prompts: Sequence[list[int]]) -> int:
        """Slots that the longest prompt takes in each row's buffers, when these prompts share a batch."""
        common = len(common_beginning(prompts)) if self._ranged and self._shares else 0
        # The last batch's beginning may be taken again, which is shorter by an eighth at most: see `_prefix_of`.
        return max(map(len, prompts)) - (common * 7 // 8 if common >= SHARED else 0)

    def rows_that_fit(self, slots: int, held: int | None = None) -> int:
        """Rows, at least one, whose keys and values, of so many slots each, fit into a GPU's memory; many on a CPU.

        Args:
            held: bytes that are given back before; by default those of the last batch's buffers.
        """
        if self._model.device.type != "cuda":
            return sys.maxsize
        held = (self._last[1].size if self._last else 0) if held is None else held
        reserved = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
        free = torch.cuda.mem_get_info()[0] + reserved + held
        a_slot = 2 * self._config.num_hidden_layers * self._kv_heads * self._width * self._model.dtype.itemsize
        return max(1, int(free * self._memory_share) // (a_slot * slots))

    def _stretch(self, rows: int, tokens: int, most: int, held: int | None = None) -> int:
        """Tokens to the next moment at which ended rows leave: on a GPU all, where the slots for them fit."""
        if self._model.device.type != "cuda":
            return min(STRETCH, most)
        slots = self.rows_that_fit(1, held) // rows
        return min(most, max(STRETCH, slots - tokens))

    def _prefix_of(self, prompts: Sequence[list[int]]) -> Prefix | None:
        """What all prompts begin with, less the last token of each; the last batch's where it is nearly as long."""
        tokens = common_beginning([prompt[:-1] for prompt in prompts])
        if len(prompts) == 1 or len(tokens) < SHARED:
            return None
        last = self._prefix
        if last and len(last.tokens) * 8 >= len(tokens) * 7 and tokens[: len(last.tokens)] == last.tokens:
            return last
        self._prefix = self._last = None  # before the next ones are computed
        cache = KeyValues(1, len(tokens), self._config.num_hidden_layers, self._model.device)
        ids = torch.tensor([tokens], device=self._model.device)
        self._prefill(ids, torch.zeros(1, 1, dtype=torch.long, device=ids.device), cache, None)
        prefix = cache.as_prefix(tokens)
        self._prefix = prefix
        return prefix

    def _take(self, rows: int, slots: int, prefix: Prefix | None) -> tuple[KeyValues, Step]:
        """Buffers and step of the last batch, where they fit this one, or new ones."""
        last, self._last = self._last, None
        if last is not None and last[0][:2] == (rows, slots) and last[0][2] is prefix:
            return last[1:]
        del last  # before new buffers are allocated
        cache = KeyValues(rows, slots, self._config.num_hidden_layers, self._model.device, prefix, apart=self._ranged)
        return cache, Step(self._forward, cache)

    def _prefill(
        self, ids: torch.Tensor, start: torch.Tensor, cache: KeyValues, inputs: PromptInputs | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fill `cache` with the prompts. The next part's inputs are read meanwhile.

        Returns:
            Logits of the prompts' last tokens, (rows, vocabulary); the position of the token after each, (rows, 1).

        Args:
            ids: the prompts without the prefix, padded on the left (rows, tokens).
            start: each prompt's first place in `ids`, (rows, 1).
        """
        rows, tokens = ids.shape
        common = len(cache.prefix.tokens) if cache.prefix is not None else 0
        slots = torch.arange(tokens, device=ids.device)
        size = max(1, PREFILL_TOKENS // tokens)
        logits, after = [], []
        own = slots >= start
        last_token = torch.tensor([tokens - 1], device=ids.device)
        beside = torch.cuda.Stream() if inputs is not None and ids.is_cuda else None
        if beside is not None:
            beside.wait_stream(torch.cuda.current_stream())
        # The first part is then a small one: nothing is computed before its inputs are read.
        starts = [0, *range(size if beside is None else max(1, size // 4), rows, size)]
        parts = list(zip(starts, [*starts[1:], rows], strict=True))

        def read(first: int, last: int) -> dict:
            if inputs is None:
                return {}
            with torch.inference_mode(), nullcontext() if beside is None else torch.cuda.stream(beside):
                read_inputs = inputs(first, last, ids[first:last], own[first:last].long())
            if beside is not None:
                beside.synchronize()
            return read_inputs

        with ThreadPoolExecutor(1) as reader:
            ahead = (reader.submit(read, first, last) for first, last in parts)
            waiting = next(ahead)
            for first, last in parts:
                extra, waiting = waiting.result(), next(ahead, waiting)
                for tensor in extra.values():
                    if beside is not None and isinstance(tensor, torch.Tensor):
                        tensor.record_stream(torch.cuda.current_stream())  # so that its memory is not taken too soon
                positions = (slots - start[first:last]).clamp(min=0) + common + self._first
                extra = {"position_ids": positions} | extra
                cache.filling = slice(first, last)
                out = self._model(
                    input_ids=ids[first:last],
                    attention_mask=self._of_prompts(own[first:last], common, text=inputs is None),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=last_token,  # as an index: of a slice, frozen heads are multiplied row by row
                    **extra,
                )
                logits.append(out.logits[:, -1])
                # The last token of a prompt is text, whose position is the same along all axes.
                after.append(extra["position_ids"][..., -1].reshape(-1, last - first)[0] + 1)
        cache.filling = None
        return torch.cat(logits), torch.cat(after)[:, None]

    def _forward(
        self, token: torch.Tensor, position: torch.Tensor, start: torch.Tensor, cache: KeyValues
    ) -> torch.Tensor:
        """Logits (rows, vocabulary) after one more token a row, (rows, 1)."""
        hidden = self._layers(
            input_ids=token,
            attention_mask=self._for_layers(lambda kind: self._seen(kind, start, cache)),
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        logits = self._head(hidden[:, -1])
        cap = getattr(self._config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _seen(self, kind: str, start: torch.Tensor, cache: KeyValues) -> torch.Tensor:
        """Which slots a layer's new tokens attend to, as this model's attention takes it: a range, or a mask."""
        first = torch.minimum(start, cache.place)
        window = self._config.sliding_window if kind == "sliding_attention" else self._window
        if window is not None:
            first = torch.maximum(first, cache.place - window + 1)
        if self._ranged:
            return torch.cat([first, cache.place.expand_as(first)], 1).to(torch.int32)[:, None, None]
        slots = torch.arange(cache.slots, device=start.device)
        seen = (slots < cache.lead) | ((slots >= first) & (slots <= cache.place))
        return self._as_mask(seen[:, None, None])

    def _of_prompts(self, own: torch.Tensor, common: int, *, text: bool) -> torch.Tensor | dict[str, torch.Tensor]:
        """What a prompt's tokens attend to: the whole prefix, and of their own row what comes before them.

        Args:
            own: which places of a row hold its prompt, (rows, tokens); padding comes first.
            common: tokens of the prefix.
            text: whether the prompts hold no image, whose tokens see each other both ways.
        """
        if self._ranged and text:
            start = (own.shape[1] - own.sum(1)).to(torch.int32)[:, None, None, None]
            return self._for_layers(lambda kind: start)
        if not common:
            return own.long()
        rows, tokens = own.shape
        before = torch.ones(tokens, tokens, dtype=torch.bool, device=own.device).tril()
        prefix = own.new_ones(rows, 1, tokens, common)
        mask = self._as_mask(torch.cat([prefix, (own[:, None] & before)[:, None]], 3))
        return self._for_layers(lambda kind: mask)

    def _for_layers(self, mask: Callable[[str], torch.Tensor]) -> torch.Tensor | dict[str, torch.Tensor]:
        """Masks as the model's layers take them: by kind, where there are several."""
        kinds = getattr(self._config, "layer_types", None)
        return {kind: mask(kind) for kind in set(kinds)} if kinds else mask("full_attention")

    def _as_mask(self, seen: torch.Tensor) -> torch.Tensor:
        """Which keys are attended to, as this model's attention takes it: bool, or what is added to the scores."""
        if self._config._attn_implementation != "eager":
            return seen
        dtype = self._model.dtype
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
