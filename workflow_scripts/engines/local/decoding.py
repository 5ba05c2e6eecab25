"""Decoding a batch token by token: one pass over the prompts, then one step a token on buffers that stay in place.

On a GPU a step is captured once in a CUDA graph and replayed: launched one by one, the kernels of 34 layers take
three to four times as long as they compute. Answers come in stretches: between two of them, rows that have ended
leave, and the buffers grow for the rows that are left. The arithmetic is the model's own `forward`.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from transformers import Cache, PreTrainedModel

PREFILL_TOKENS = 1 << 15
"""Prompt tokens computed at once: enough to fill a GPU, little enough that only keys and values fill its memory."""

STRETCH = 128
"""Most tokens between two moments at which ended rows leave."""

LOOK = 8
"""Tokens between two looks whether every row has ended: each look waits for the GPU."""

SLOTS = "slots"
"""Name of `engines.local.slot_attention`, which needs a GPU to be imported."""

Choose = Callable[[torch.Tensor], torch.Tensor]
"""From logits (rows, vocabulary) to one token a row (rows,)."""

PromptInputs = Callable[[int, int, torch.Tensor], dict]
"""Besides ids and masks, what `forward` takes for the prompts from one place up to another, given their ids."""


def greedily(logits: torch.Tensor) -> torch.Tensor:
    """The likeliest token of each row; the lowest of equals."""
    return logits.argmax(-1)


class KeyValues(Cache):
    """Keys and values of every layer, (rows, heads, slots, width) each, written in place.

    `filling` names the rows whose prompts are computed; None while decoding, when the one new token of each row goes
    to slot `place`.
    """

    def __init__(self, rows: int, slots: int, device: torch.device) -> None:
        super().__init__(layers=[])
        self.rows, self.slots = rows, slots
        self.filling: slice | None = None
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        """Store new keys and values of a layer; return those to attend to."""
        if layer_idx == len(self._keys):
            _, heads, _, width = key_states.shape
            for layers in (self._keys, self._values):
                # Zeros, since a masked slot still takes part in products: 0 × NaN is NaN.
                layers.append(key_states.new_zeros(self.rows, heads, self.slots, width))
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        if self.filling is None:
            keys.index_copy_(2, self.place, key_states)
            values.index_copy_(2, self.place, value_states)
            return keys, values
        tokens = key_states.shape[2]
        keys[self.filling, :, :tokens] = key_states
        values[self.filling, :, :tokens] = value_states
        return key_states, value_states

    @property
    def size(self) -> int:
        """Bytes of the buffers."""
        return sum(layer.nbytes for layers in (self._keys, self._values) for layer in layers)

    def select(self, rows: torch.Tensor, slots: int) -> None:
        """Go on with these rows alone, with this many slots. Layer by layer: two copies of one layer at most."""
        used = min(slots, self.slots)
        for layers in (self._keys, self._values):
            for layer, old in enumerate(layers):
                new = old.new_zeros(len(rows), old.shape[1], slots, old.shape[3])
                new[:, :, :used] = old[rows, :, :used]
                layers[layer] = new
                del old
        self.rows, self.slots = len(rows), slots

    @property
    def is_initialized(self) -> bool:
        """Whether prompts are in; while they are computed, they see themselves alone."""
        return self.filling is None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before those being computed: none, since masks and positions of a step are given."""
        return 0

    def get_query_offset(self, layer_idx: int | None = None) -> int:
        """As `get_seq_length`."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Keys that a prompt attends to, and the first one's place."""
        return query_length, 0


class Decoder:
    """Generates from one model; prompts are padded on the left.

    Args:
        model: the network without an adapter's wrapper; adapters inside its layers are fine.
        pad: token that fills up short prompts.
        stops: tokens that end an answer.
        first_position: position of a prompt's first token.
    """

    def __init__(self, model: PreTrainedModel, pad: int, stops: set[int], first_position: int = 0) -> None:
        self._model, self._pad = model, pad
        self._stops = stops
        self._first = first_position
        self._config = model.config.get_text_config()
        self._layers = model.get_decoder()
        self._head = model.get_output_embeddings()
        self._ranged = (
            model.device.type == "cuda"
            and model.dtype.itemsize == 2
            and self._config._attn_implementation in ("sdpa", SLOTS)
        )
        if self._ranged:
            from workflow_scripts.engines.local import slot_attention  # noqa: F401 - registers itself

            self._config._attn_implementation = SLOTS
        self._last: tuple[tuple[int, int, bool], KeyValues, Step] | None = None  # batch, for the next of its size

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
        variant: bool = True,
        fixed: bool = False,
    ) -> list[list[int]]:
        """New tokens of each prompt, at most `max_new_tokens`, up to and with the stop token.

        Args:
            accept: called with the tokens of each step, one a row.
            keep: called with the places, within the last batch, of the rows that stay when others have ended.
            variant: what of the model changes between calls, whether its adapter takes part: a captured step is one's.
            fixed: generate exactly `max_new_tokens` tokens (for timing).
        """
        device = self._model.device
        longest = max(map(len, prompts))
        ids = torch.tensor([[self._pad] * (longest - len(prompt)) + prompt for prompt in prompts])
        start = torch.tensor([longest - len(prompt) for prompt in prompts], device=device)[:, None]
        slots = -(-(longest + min(STRETCH, max_new_tokens)) // 64) * 64
        cache, step = self._take(len(prompts), slots, variant)
        logits = self._prefill(ids.to(device), start, cache, inputs)

        stops = torch.tensor([] if fixed else sorted(self._stops), dtype=torch.long, device=device)
        answers: list[list[int]] = [[] for _ in prompts]
        rows = list(range(len(prompts)))
        length = 0
        while True:
            stretch = min(STRETCH, max_new_tokens - length)
            step.begin(start, longest + length, longest + length - start + self._first)
            ended = torch.zeros(len(rows), dtype=torch.bool, device=device)
            taken = []
            for count in range(1, stretch + 1):
                token = choose(logits)
                taken.append(token)
                ended |= torch.isin(token, stops)
                if accept is not None:
                    accept(token.tolist())
                if length + count == max_new_tokens or (count % LOOK == 0 and bool(ended.all())):
                    break
                logits = step(token)
            length += len(taken)
            for row, tokens in zip(rows, torch.stack(taken, 1).tolist(), strict=True):
                answers[row] += tokens
            left = torch.nonzero(~ended)[:, 0]
            if length == max_new_tokens or not len(left):
                self._last = ((len(prompts), slots, variant), cache, step) if length == len(taken) else None
                return answers if fixed else [self._up_to_stop(tokens) for tokens in answers]
            logits, start = logits[left], start[left]
            del step  # its graph goes, and the memory it holds
            cache.select(left, longest + length + min(STRETCH, max_new_tokens - length))
            step = Step(self._forward, cache)
            places = left.tolist()
            rows = [rows[place] for place in places]
            if keep is not None:
                keep(places)

    @property
    def buffer_size(self) -> int:
        """Bytes of the last batch's buffers, which go when a batch needs others."""
        return self._last[1].size if self._last else 0

    def _take(self, rows: int, slots: int, variant: bool) -> tuple[KeyValues, "Step"]:
        """Buffers and step of the last batch, where they fit this one, or new ones."""
        last, self._last = self._last, None
        if last is not None and last[0] == (rows, slots, variant):
            return last[1:]
        del last  # before new buffers are allocated
        cache = KeyValues(rows, slots, self._model.device)
        return cache, Step(self._forward, cache)

    def _up_to_stop(self, tokens: list[int]) -> list[int]:
        end = next((place for place, token in enumerate(tokens) if token in self._stops), len(tokens))
        return tokens[: end + 1]

    def _prefill(
        self, ids: torch.Tensor, start: torch.Tensor, cache: KeyValues, inputs: PromptInputs | None
    ) -> torch.Tensor:
        """Fill `cache` with the prompts; logits of their last tokens. The next part's inputs are read meanwhile."""
        rows, tokens = ids.shape
        slots = torch.arange(tokens, device=ids.device)
        size = max(1, PREFILL_TOKENS // tokens)
        parts = [(first, min(first + size, rows)) for first in range(0, rows, size)]
        logits = []
        with ThreadPoolExecutor(1) as reader:
            read = torch.inference_mode()(inputs or (lambda first, last, ids: {}))
            ahead = (reader.submit(read, first, last, ids[first:last]) for first, last in parts)
            waiting = next(ahead)
            for first, last in parts:
                extra, waiting = waiting.result(), next(ahead, waiting)
                cache.filling = slice(first, last)
                mask = slots >= start[first:last]
                out = self._model(
                    input_ids=ids[first:last],
                    attention_mask=mask.long(),
                    position_ids=(slots - start[first:last]).clamp(min=0) + self._first,
                    past_key_values=cache,
                    use_cache=True,
                    logits_to_keep=1,
                    **extra,
                )
                logits.append(out.logits[:, -1])
        cache.filling = None
        return torch.cat(logits)

    def _forward(
        self, token: torch.Tensor, position: torch.Tensor, start: torch.Tensor, cache: KeyValues
    ) -> torch.Tensor:
        """Logits (rows, vocabulary) after one more token a row, (rows, 1)."""
        kinds = getattr(self._config, "layer_types", None)
        masks = {kind: self._seen(kind, start, cache) for kind in set(kinds or ["full_attention"])}
        hidden = self._layers(
            input_ids=token,
            attention_mask=masks if kinds else masks["full_attention"],
            position_ids=position,
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state
        logits = self._head(hidden[:, -1])
        cap = getattr(self._config, "final_logit_softcapping", None)
        return logits if cap is None else torch.tanh(logits / cap) * cap

    def _seen(self, kind: str, start: torch.Tensor, cache: KeyValues) -> torch.Tensor:
        """Which slots a layer's new tokens attend to, as this model's attention takes it: a range, or a mask."""
        first = start
        if kind == "sliding_attention":
            first = torch.maximum(start, cache.place - self._config.sliding_window + 1)
        if self._ranged:
            return torch.cat([first, cache.place.expand_as(first)], 1).to(torch.int32)[:, None, None]
        slots = torch.arange(cache.slots, device=start.device)
        seen = ((slots >= first) & (slots <= cache.place))[:, None, None]
        if self._config._attn_implementation != "eager":
            return seen
        dtype = self._model.dtype
        return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill(~seen, torch.finfo(dtype).min)


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
