"""Decoding token by token: prompts are computed in passes of their own, then one step a token on buffers that stay.

Tokens that all prompts begin with are computed once, and their keys and values are kept once. On a GPU a step is
captured once in a CUDA graph and replayed: launched one by one, the kernels of 34 layers take three to four times as
long as they compute. A row that ends makes way for the next prompt. The arithmetic is the model's own `forward`.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import accumulate

import torch
from transformers import PreTrainedModel

from workflow_scripts.engines.local.choice import Choose, greedily
from workflow_scripts.engines.local.key_values import KeyValues, Prefix
from workflow_scripts.engines.local.pages import PAGE, SPARE, PagedKeyValues, memory_for_pages, pages_of
from workflow_scripts.engines.local.rows import USUAL, Places, Row
from workflow_scripts.engines.local.step import Step
from workflow_scripts.engines.local.tokens import common_beginning, parts_of

PREFILL_TOKENS = 1 << 15
"""Prompt tokens computed at once: enough to fill a GPU, little enough that only keys and values fill its memory."""

LOOK = 8
"""Tokens between two looks at what a GPU wrote, each of which waits for it; on a CPU every token is looked at."""

SHARED = 32
"""Fewest tokens at the beginning of all prompts that are worth a pass of their own."""

KERNEL_WIDTHS = (16, 32, 64, 128, 256)
"""Widths of a head that the kernels here take; others are left to the library's attention."""

SLOTS = "slots"
"""Name of `engines.local.slot_attention`, which needs a GPU to be imported."""

PromptInputs = Callable[[int, int, torch.Tensor, torch.Tensor], dict]
"""What `forward` takes besides, for the prompts from one place up to another, given their ids and masks.

`position_ids` among it, of one or several axes, replace those that simply count."""


@dataclass(frozen=True)
class _Options:
    """What a call brings along: see `Decoder.generate`. With any of the first three, rows cannot wait or come back."""

    inputs: PromptInputs | None = None
    accept: Callable[[list[int]], None] | None = None
    keep: Callable[[list[int]], None] | None = None
    choose: Choose = greedily
    fixed: bool = False


class Decoder:
    """Generates from one model; prompts are padded on the left.

    Args:
        model: the network without an adapter's wrapper; adapters inside its layers are fine.
        pad: token that fills up short prompts.
        stops: tokens that end an answer.
        first_position: position of a prompt's first token.
        spare: share of a GPU's free memory that keys and values leave, at least.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        pad: int,
        stops: set[int],
        first_position: int = 0,
        spare: float = SPARE,
    ) -> None:
        self._model, self._pad = model, pad
        self._stops = stops
        self._first = first_position
        self._spare = spare
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
        kinds = getattr(config, "layer_types", None) or ["sliding_attention"] * config.num_hidden_layers
        self._windows = [self._window_of(kind) for kind in kinds]
        self._prefix: Prefix | None = None  # of the last call
        self._last: tuple[KeyValues, Step] | None = None  # for the next call

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
        prefix = self._prefix_of(prompts) if inputs is None else None
        common = len(prefix.tokens) if prefix is not None else 0
        times = [1] * len(prompts) if copies is None else copies
        own = [prompt[common:] for prompt, count in zip(prompts, times, strict=True) for _ in range(count)]
        rows = [Row(place, prompt, max_new_tokens) for place, prompt in enumerate(own)]
        options = _Options(inputs, accept, keep, choose, fixed)
        for _ in self._decode(rows, len(rows), prefix, options, copies):
            pass
        return [row.tokens for row in rows]

    @torch.inference_mode()
    def stream(
        self,
        prompts: Sequence[list[int]],
        limits: Sequence[int],
        most: int,
        *,
        choose: Choose = greedily,
        fixed: bool = False,
    ) -> Iterator[dict[int, list[int]]]:
        """New tokens by the prompt's place, as answers end; prompts are taken up in the order given.

        Args:
            limits: most new tokens of each.
            most: prompts under way at a time, at most; fewer where the memory does not hold them.
            fixed: generate exactly so many tokens (for timing).

        Raises:
            torch.OutOfMemoryError: the memory does not hold a single row.
        """
        prefix = self._prefix_of(prompts)
        common = len(prefix.tokens) if prefix is not None else 0
        given = zip(prompts, limits, strict=True)
        rows = [Row(place, prompt[common:], limit) for place, (prompt, limit) in enumerate(given)]
        usual = sum(len(row.prompt) + min(row.limit, USUAL) * 5 // 8 for row in rows) // len(rows)
        count = min(most, len(rows), self.rows_that_fit(usual))
        for ended in self._decode(rows, count, prefix, _Options(choose=choose, fixed=fixed)):
            yield {row.place: row.tokens for row in ended}

    def rows_that_fit(self, tokens: int) -> int:
        """Rows, at least one, whose keys and values, of so many tokens each, fit into a GPU's memory; many on a CPU."""
        if self._model.device.type != "cuda":
            return sys.maxsize
        return max(1, self._free() // self._row_size(tokens))

    def _free(self) -> int:
        """Bytes of a GPU's memory for keys and values, were those of the last call given back."""
        return memory_for_pages(self._model, PREFILL_TOKENS, self._last[0].size if self._last else 0, self._spare)

    def _row_size(self, tokens: int) -> int:
        """Bytes of a row's keys and values, in pages, and of its logits: a prompt's, the last ones, a step's."""
        slots = sum(PAGE * pages_of(tokens if window is None else min(tokens, window)) for window in self._windows)
        return self._model.dtype.itemsize * (2 * self._kv_heads * self._width * slots + 3 * self._config.vocab_size)

    def _window_of(self, kind: str) -> int | None:
        return getattr(self._config, "sliding_window", None) if kind == "sliding_attention" else None

    def _prefix_of(self, prompts: Sequence[list[int]]) -> Prefix | None:
        """What all prompts begin with, less the last token of each; the last call's where it is nearly as long."""
        tokens = common_beginning([prompt[:-1] for prompt in prompts])
        if len(prompts) == 1 or len(tokens) < SHARED:
            return None
        last = self._prefix
        if last and len(last.tokens) * 8 >= len(tokens) * 7 and tokens[: len(last.tokens)] == last.tokens:
            return last
        self._prefix = self._last = None  # before the next ones are computed
        cache = KeyValues(1, [None] * len(self._windows), self._model.device)
        cache.reserve(0, len(tokens))
        self._prefill([tokens], torch.zeros(1, dtype=torch.long, device=self._model.device), cache, None)
        self._prefix = cache.as_prefix(tokens)
        return self._prefix

    def _cache_of(self, rows: Sequence[Row], count: int, prefix: Prefix | None) -> tuple[KeyValues, Step]:
        """Buffers and step of the last call, where they fit this one, or new ones."""
        device = self._model.device
        tokens = max(len(row.prompt) + row.limit for row in rows) + LOOK
        planned, free = tokens, self._free() if self._ranged else sys.maxsize
        while planned > PAGE and count * self._row_size(planned) > free:
            planned -= PAGE
        last, self._last = self._last, None
        if last is not None and last[0].rows == count and last[0].prefix is prefix and last[0].takes(tokens, planned):
            last[0].release(range(count))
            return last
        del last  # before new buffers are allocated
        if self._ranged:
            cache: KeyValues = PagedKeyValues(count, self._windows, device, prefix, tokens, planned)
        else:
            cache = KeyValues(count, self._windows, device, prefix)
        return cache, Step(self._forward, cache, torch.zeros(count, 1, dtype=torch.long, device=device))

    def _decode(
        self,
        rows: Sequence[Row],
        count: int,
        prefix: Prefix | None,
        options: _Options,
        copies: Sequence[int] | None = None,
    ) -> Iterator[list[Row]]:
        """Rows as they end, `count` at a time."""
        cache, step = self._cache_of(rows, count, prefix)
        device = self._model.device
        stops = set() if options.fixed else self._stops
        together = options.inputs is not None or options.accept is not None or copies is not None
        look = LOOK if device.type == "cuda" and options.accept is None else 1
        places = Places(rows, count, patient=device.type == "cuda")
        logits = torch.empty(0, 0, device=device)
        while True:
            arrived = places.admit(cache, every=together)
            if arrived:
                firsts = list(accumulate([1] * len(arrived) if copies is None else copies, initial=0))[:-1]
                new, after = self._prefill(
                    [row.prompt + row.tokens for _, row in (arrived[first] for first in firsts)],
                    torch.tensor([arrived[first][0] for first in firsts], device=device),
                    cache,
                    options.inputs,
                )
                target = torch.tensor([place for place, _ in arrived], device=device)
                if copies is not None:
                    of = torch.repeat_interleave(torch.tensor(copies, device=device))
                    sources = [firsts[one] for one in of.tolist()]
                    cache.copy(sources, range(count))
                    new, after = new[of], after[of]
                if len(logits) != cache.rows:
                    logits = new.new_zeros(cache.rows, new.shape[1])
                logits[target], step.position[target] = new, after
            longest = max(row.left for _, row in places)
            steps = min(look, longest)
            places.reserve(cache, steps, every=together)
            cache.begin_steps()
            if cache.moves != step.moves:
                step = Step(self._forward, cache, step.position)
            tokens = []
            for number in range(steps):
                tokens.append(options.choose(logits, *places.standing(number)))
                if options.accept is not None:
                    options.accept(tokens[-1].tolist())
                if number + 1 < longest:  # else nobody goes on
                    logits = step(tokens[-1])
            ended = places.add(torch.stack(tokens, 1).tolist(), stops)
            if ended:
                yield ended
            if not places.waiting and not any(places.rows):
                break
            cache.release(places.idle)
            if places.shall_close_up():
                stay = places.close_up()
                if options.keep is not None:
                    options.keep(stay)
                chosen = torch.tensor(stay, device=device)
                cache.select(stay)
                logits = logits[chosen]
                step = Step(self._forward, cache, step.position[chosen])
        if cache.rows == count:
            self._last = cache, step

    def _prefill(
        self, prompts: Sequence[list[int]], rows: torch.Tensor, cache: KeyValues, inputs: PromptInputs | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Fill rows of `cache` with the prompts, part by part. The next part's inputs are read meanwhile.

        Args:
            prompts: without the prefix.
            rows: of the cache, one a prompt.

        Returns:
            Logits of the prompts' last tokens, (rows, vocabulary); the position of the token after each, (rows, 1).
        """
        device = rows.device
        common = len(cache.prefix.tokens) if cache.prefix is not None else 0
        logits, after = [], []
        last_token = torch.tensor([-1], device=device)
        beside = torch.cuda.Stream() if inputs is not None and device.type == "cuda" else None
        # The first part is then a small one: nothing is computed before its inputs are read.
        parts = parts_of([len(prompt) for prompt in prompts], PREFILL_TOKENS, 1 if beside is None else 4)
        padded = [self._padded(prompts[first:last]) for first, last in parts]
        if beside is not None:
            beside.wait_stream(torch.cuda.current_stream())

        def read(part: int) -> dict:
            if inputs is None:
                return {}
            ids, own, _ = padded[part]
            with torch.inference_mode(), nullcontext() if beside is None else torch.cuda.stream(beside):
                read_inputs = inputs(*parts[part], ids, own.long())
            if beside is not None:
                beside.synchronize()
            return read_inputs

        with ThreadPoolExecutor(1) as reader:
            ahead = (reader.submit(read, part) for part in range(len(parts)))
            waiting = next(ahead)
            for (first, last), (ids, own, start) in zip(parts, padded, strict=True):
                extra, waiting = waiting.result(), next(ahead, waiting)
                for tensor in torch.utils._pytree.tree_leaves(extra):  # of encoders' outputs too
                    if beside is not None and isinstance(tensor, torch.Tensor):
                        tensor.record_stream(torch.cuda.current_stream())  # so that its memory is not taken too soon
                tokens = ids.shape[1]
                positions = (torch.arange(tokens, device=device) - start[:, None]).clamp(min=0) + common + self._first
                extra = {"position_ids": positions} | extra
                cache.begin_filling(rows[first:last], start, tokens)
                out = self._model(
                    input_ids=ids,
                    attention_mask=self._of_prompts(own, common, text=inputs is None),
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=last_token,  # as an index: of a slice, frozen heads are multiplied row by row
                    **extra,
                )
                logits.append(out.logits[:, -1])
                # The last token of a prompt is text, whose position is the same along all axes.
                after.append(extra["position_ids"][..., -1].reshape(-1, last - first)[0] + 1)
        return torch.cat(logits), torch.cat(after)[:, None]

    def _padded(self, prompts: Sequence[list[int]]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Ids of prompts padded on the left; which are no padding, (rows, tokens); first places, (rows,)."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[self._pad] * (longest - len(prompt)) + prompt for prompt in prompts])
        start = torch.tensor([longest - len(prompt) for prompt in prompts])
        if self._model.device.type == "cuda":
            ids, start = ids.pin_memory(), start.pin_memory()
        ids, start = (tensor.to(self._model.device, non_blocking=True) for tensor in (ids, start))
        return ids, torch.arange(longest, device=ids.device) >= start[:, None], start

    def _forward(self, token: torch.Tensor, position: torch.Tensor, cache: KeyValues) -> torch.Tensor:
        """Logits (rows, vocabulary) after one more token a row, (rows, 1)."""
        hidden = self._layers(
            input_ids=token,
            attention_mask=self._for_layers(lambda kind: self._as_mask(cache.seen(self._window_of(kind)))),
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        logits = self._head(hidden[:, -1])
        cap = getattr(self._config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _of_prompts(self, own: torch.Tensor, common: int, *, text: bool) -> torch.Tensor | dict[str, torch.Tensor]:
        """What a prompt's tokens attend to: of the prefix and of their own row what comes before them in the window.

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
        place = own.cumsum(1) - 1 + common
        before = torch.arange(common, device=own.device).expand(len(own), -1)
        key = torch.cat([before, place.masked_fill(~own, torch.iinfo(torch.long).max)], 1)  # padding is after all
        distance = place[:, None, :, None] - key[:, None, None, :]

        def mask(kind: str) -> torch.Tensor:
            window = self._window_of(kind)
            seen = distance >= 0
            return self._as_mask(seen if window is None else seen & (distance < window))

        return self._for_layers(mask)

    def _for_layers(self, mask: Callable[[str], torch.Tensor]) -> torch.Tensor | dict[str, torch.Tensor]:
        """Masks as the model's layers take them: by kind, where there are several."""
        kinds = getattr(self._config, "layer_types", None)
        return {kind: mask(kind) for kind in set(kinds)} if kinds else mask("sliding_attention")

    def _as_mask(self, seen: torch.Tensor) -> torch.Tensor:
        """Which keys are attended to, as this model's attention takes it: bool, or what is added to the scores."""
        if self._config._attn_implementation != "eager":
            return seen
        dtype = self._model.dtype
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)
