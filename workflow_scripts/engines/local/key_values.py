"""Keys and values of rows that are decoded, in buffers that stay in place, and of a prefix that all rows share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import Cache

STRETCH = 128
"""Slots by which rows grow at a time: growing copies them."""


@dataclass(frozen=True)
class Prefix:
    """Tokens that several prompts begin with, and their keys and values: a layer each, (1, heads, tokens, width)."""

    tokens: list[int]
    keys: list[torch.Tensor]
    values: list[torch.Tensor]


class KeyValues(Cache):
    """Keys and values of every layer, (rows, heads, slots, width) each; a row's tokens begin at its first slot.

    A layer with a window has as many slots a row as the window at most: the token at place i of a row goes to slot i
    modulo the window, over the token that is seen no more. Attention asks for no order.

    `count` holds how many tokens each row has, the prefix included; while decoding, the row's new one goes behind them.

    Args:
        rows: answers that are decoded at a time.
        windows: how far each layer sees, in tokens; None: as far as there are any.
        prefix: what all rows begin with.
    """

    last_token_alone = True
    """Prompts are computed for what is held here and for the states of their last tokens: layers may leave others."""

    def __init__(
        self, rows: int, windows: Sequence[int | None], device: torch.device, prefix: Prefix | None = None
    ) -> None:
        super().__init__(layers=[])
        self.rows, self.windows, self.prefix = rows, windows, prefix
        self.count = torch.zeros(rows, dtype=torch.long, device=device)
        self.slots = 0
        self.moves = 0
        """How often the buffers were replaced by others: a captured step then holds no more."""
        self._common = len(prefix.tokens) if prefix is not None else 0
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []
        self._filling: torch.Tensor | None = None
        self._start = self.count
        self._targets: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

    def takes(self, tokens: int, planned: int) -> bool:
        """Whether other rows, of so many tokens at most and planned with so many, can be decoded here too."""
        return True

    def fits(self, tokens: Iterable[int]) -> bool:
        """Whether rows of so many tokens, without the prefix, can be held together."""
        return True

    def reserve(self, row: int, tokens: int) -> bool:
        """Have slots for so many tokens of a row, without the prefix; False if there are none left."""
        if self._common + tokens > self.slots:
            self.slots = -(-(self._common + tokens) // STRETCH) * STRETCH
            if self._keys:
                self._replace(lambda old: old)
        return True

    def release(self, rows: Sequence[int]) -> None:
        """Hold nothing of these rows."""
        self.count[list(rows)] = 0

    def begin_filling(self, rows: torch.Tensor, start: torch.Tensor, tokens: int) -> None:
        """The next pass computes prompts of these rows, padded on the left to so many tokens.

        Args:
            start: each prompt's first place, (rows,).
        """
        self._filling, self._start, self._targets = rows, start, {}
        self.count[rows] = self._common + tokens - start

    def begin_steps(self) -> None:
        """The next passes compute one new token of each row."""
        self._filling = None

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        """Store new keys and values of a layer; return those to attend to."""
        if not self._keys:
            self._allocate(key_states)
        if self._filling is None:
            keys, values = self._keys[layer_idx], self._values[layer_idx]
            rows, slot = torch.arange(self.rows, device=keys.device), self.count % keys.shape[2]
            keys[rows, :, slot], values[rows, :, slot] = key_states[:, :, 0], value_states[:, :, 0]
            return keys, values
        if self.prefix is not None:
            key_states, value_states = (
                torch.cat([prefix[layer_idx].expand(len(states), -1, -1, -1), states], 2)
                for prefix, states in ((self.prefix.keys, key_states), (self.prefix.values, value_states))
            )
        self._store(layer_idx, key_states, value_states)
        return key_states, value_states

    def _store(self, layer: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write what is computed of prompts, padding between the prefix and each row's own tokens, to its slots."""
        slots = self._keys[layer].shape[2]
        if slots not in self._targets:
            place = torch.arange(keys.shape[2], device=keys.device).expand(len(keys), -1)
            padding = self._start[:, None]
            index = torch.where(place < self._common, place, place - padding)
            real = (place < self._common) | (place >= self._common + padding)
            real = real & (index >= keys.shape[2] - padding - slots)
            row, column = real.nonzero(as_tuple=True)
            self._targets[slots] = row, column, index[row, column] % slots
        row, column, slot = self._targets[slots]
        assert self._filling is not None
        target = self._filling[row]
        self._keys[layer][target, :, slot] = keys[row, :, column]
        self._values[layer][target, :, slot] = values[row, :, column]

    def _allocate(self, like: torch.Tensor) -> None:
        # All at once: taken one by one, they would lie in the gaps between what a layer computes, and leave others.
        # Zeros, since a masked slot still takes part in products: 0 × NaN is NaN.
        _, heads, _, width = like.shape
        for layers in (self._keys, self._values):
            layers += [like.new_zeros(self.rows, heads, self._slots_of(window), width) for window in self.windows]

    def _slots_of(self, window: int | None) -> int:
        return self.slots if window is None else min(window, self.slots)

    def _replace(self, chosen: Callable[[torch.Tensor], torch.Tensor]) -> None:
        """New buffers, layer by layer: two copies of one layer at most."""
        self.moves += 1
        for layers in (self._keys, self._values):
            for layer, window in enumerate(self.windows):
                old = chosen(layers[layer])
                new = old.new_zeros(*old.shape[:2], self._slots_of(window), old.shape[3])
                new[:, :, : old.shape[2]] = old
                layers[layer] = new
                del old

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, in this order."""
        places = torch.tensor(rows, device=self.count.device)
        self.rows, self.count = len(rows), self.count[places]
        self._replace(lambda old: old[places])

    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Give rows the tokens of others."""
        source, target = (torch.tensor(rows, device=self.count.device) for rows in (sources, targets))
        for tensor in (self.count, *self._keys, *self._values):
            tensor[target] = tensor[source]

    def seen(self, window: int | None) -> torch.Tensor:
        """What a row's new token attends to in layers of a window, as their attention takes it: a mask of slots."""
        slots = torch.arange(self._slots_of(window), device=self.count.device)
        return (slots <= self.count[:, None])[:, None, None]

    def as_prefix(self, tokens: list[int]) -> Prefix:
        """What is kept of the one row, whose prompt was computed, for others that begin with it."""
        whole = [[layer[:, :, : len(tokens)].contiguous() for layer in kind] for kind in (self._keys, self._values)]
        return Prefix(tokens, *whole)

    @property
    def size(self) -> int:
        """Bytes of the buffers."""
        return sum(layer.nbytes for layers in (self._keys, self._values) for layer in layers)

    @property
    def is_initialized(self) -> bool:
        """Whether prompts are in; while they are computed, they see themselves alone."""
        return self._filling is None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens before those being computed: none, since masks and positions of a step are given."""
        return 0

    def get_query_offset(self, layer_idx: int | None = None) -> int:
        """As `get_seq_length`."""
        return 0

    def get_mask_sizes(self, query_length: int, layer_idx: int) -> tuple[int, int]:
        """Keys that a prompt attends to, and the first one's place."""
        return query_length, 0
