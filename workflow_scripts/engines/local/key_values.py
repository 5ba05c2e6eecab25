"""Keys and values of a batch that is decoded, in buffers that stay in place, and of a prefix that its rows share."""

from dataclasses import dataclass

import torch
from transformers import Cache


@dataclass(frozen=True)
class Prefix:
    """Tokens that several prompts begin with, and their keys and values: a layer each, (1, heads, tokens, width)."""

    tokens: list[int]
    keys: list[torch.Tensor]
    values: list[torch.Tensor]


class KeyValues(Cache):
    """Keys and values of every layer, (rows, heads, slots, width) each, written in place.

    `filling` names the rows whose prompts are computed; None while decoding, when the one new token of each row goes
    to slot `place`.

    Args:
        layers: how many the model has, whose heads are alike.
        prefix: what all rows begin with.
        apart: attention takes the prefix beside the rows' own slots; otherwise each row's first `lead` slots hold it.
    """

    def __init__(
        self,
        rows: int,
        slots: int,
        layers: int,
        device: torch.device,
        prefix: Prefix | None = None,
        *,
        apart: bool = False,
    ) -> None:
        super().__init__(layers=[])
        self._layers = layers
        self.prefix, self._apart = prefix, apart
        self.lead = len(prefix.tokens) if prefix is not None and not apart else 0
        self.rows, self.slots = rows, slots
        self.filling: slice | None = None
        self.place = torch.zeros(1, dtype=torch.long, device=device)
        self._keys: list[torch.Tensor] = []
        self._values: list[torch.Tensor] = []

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        """Store new keys and values of a layer; return those to attend to.

        Beside a prefix that stays apart, each is a pair: the rows' own ones, and the prefix's.
        """
        if not self._keys:
            _, heads, _, width = key_states.shape
            # All at once: taken one by one, they would lie in the gaps between what a layer computes, and leave
            # others. Zeros, since a masked slot still takes part in products: 0 × NaN is NaN.
            for layers in (self._keys, self._values):
                layers += [key_states.new_zeros(self.rows, heads, self.slots, width) for _ in range(self._layers)]
            if self.prefix is not None and self.lead:
                for layer in range(self._layers):
                    self._keys[layer][:, :, : self.lead] = self.prefix.keys[layer]
                    self._values[layer][:, :, : self.lead] = self.prefix.values[layer]
        keys, values = self._keys[layer_idx], self._values[layer_idx]
        if self.filling is None:
            keys.index_copy_(2, self.place, key_states)
            values.index_copy_(2, self.place, value_states)
            return self._beside_prefix(layer_idx, keys, values)
        rows, _, tokens, _ = key_states.shape
        keys[self.filling, :, self.lead : self.lead + tokens] = key_states
        values[self.filling, :, self.lead : self.lead + tokens] = value_states
        if self.prefix is None or self._apart:
            return self._beside_prefix(layer_idx, key_states, value_states)
        return (
            torch.cat([self.prefix.keys[layer_idx].expand(rows, -1, -1, -1), key_states], 2),
            torch.cat([self.prefix.values[layer_idx].expand(rows, -1, -1, -1), value_states], 2),
        )

    def _beside_prefix(self, layer: int, keys: torch.Tensor, values: torch.Tensor):
        if self.prefix is None or not self._apart:
            return keys, values
        return (keys, self.prefix.keys[layer]), (values, self.prefix.values[layer])

    def as_prefix(self, tokens: list[int]) -> Prefix:
        """What is kept of the one row, whose prompt was computed, for others that begin with it."""
        return Prefix(tokens, self._keys, self._values)

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
