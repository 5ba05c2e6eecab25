"""Keys and values of rows that are decoded on a GPU, in pages: a row holds what its tokens fill, and no more.

Answers differ in length. With slots for the longest of them, most of the memory would be empty; with pages of a few
tokens, and a table that says which ones a row has, batches are as large as what is written allows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from workflow_scripts.engines.local.key_values import KeyValues, Prefix

PAGE = 64
"""Tokens of a page: a block of the attention's kernel."""

SPARE = 0.1
"""Share of a GPU's free memory that pages leave, where no network but the language model runs."""


def memory_for_pages(model: PreTrainedModel, tokens: int, held: int, spare: float) -> int:
    """Bytes of a GPU's free memory that keys and values may fill.

    Args:
        tokens: of prompts that are computed at once; what their activations need is left, up to a third.
        held: bytes of earlier keys and values that make way.
        spare: share that is left at least.
    """
    reserved = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    free = torch.cuda.mem_get_info()[0] + reserved + held
    activations = tokens * values_of_a_token(model.config.get_text_config()) * model.dtype.itemsize
    return int(free - max(spare * free, min(activations, free / 3)))


def values_of_a_token(config: PreTrainedConfig) -> int:
    """Values of a layer's activations for a token of a prompt: inputs, projections and the gated unit.

    Models whose configuration has not one width of that unit for all layers are thought to have the usual one.
    """
    inner = getattr(config, "intermediate_size", None)
    return 4 * (inner if isinstance(inner, int) else 4 * config.hidden_size) + 8 * config.hidden_size


def pages_of(tokens: int) -> int:
    """Pages that hold so many tokens."""
    return -(-tokens // PAGE)


class Paged(NamedTuple):
    """Keys or values of a layer, for its attention: `pool` (pages, heads, PAGE, width).

    A row's token at place i is in slot i modulo `slots`; slot s is in page `table[row, s // PAGE]`.
    """

    pool: torch.Tensor
    table: torch.Tensor
    slots: int
    window: int
    ahead: int  # tokens of a prefix that are in the pages too
    prefix: torch.Tensor | None


@dataclass
class _Pool:
    """Pages of the layers of one window, and who has them; page 0 is nobody's, rows without any write there."""

    pages: int
    entries: int  # of a row's table
    window: int
    ahead: int
    table: torch.Tensor  # (rows, entries), int32
    draft: torch.Tensor  # the same on the CPU
    free: list[int]
    of_row: list[list[int]]
    stale: bool = True  # the table, behind its draft

    @property
    def slots(self) -> int:
        return self.entries * PAGE

    def needed(self, tokens: int) -> int:
        """Pages of a row of so many tokens, without the prefix."""
        return min(pages_of(tokens + self.ahead), self.entries)


class PagedKeyValues(KeyValues):
    """As `KeyValues`; `count` leaves the prefix out, which attention takes beside the rows' own tokens.

    Layers with a window keep what they still see of the prefix among the row's own.

    Args:
        tokens: most tokens of a row, the prefix left out.
        planned: tokens of a row, likewise, for which there are pages when all rows have as many.
    """

    def __init__(
        self,
        rows: int,
        windows: Sequence[int | None],
        device: torch.device,
        prefix: Prefix | None,
        tokens: int,
        planned: int,
    ) -> None:
        super().__init__(rows, windows, device, prefix)
        self.tokens, self.planned, self._device = tokens, planned, device
        self._pools: dict[int | None, _Pool] = {}
        self._tables: dict[int | None, torch.Tensor] = {}  # of the rows being filled
        for window in set(windows):
            ahead = 0 if window is None else self._common
            entries = pages_of(tokens + ahead)
            if window is not None:
                entries = min(entries, pages_of(window))
            pages = 1 + rows * min(pages_of(planned + ahead), entries)
            self._pools[window] = _Pool(
                pages=pages,
                entries=entries,
                window=tokens + ahead + PAGE if window is None else window,
                ahead=ahead,
                table=torch.zeros(rows, entries, dtype=torch.int32, device=device),
                draft=torch.zeros(rows, entries, dtype=torch.int32, pin_memory=device.type == "cuda"),
                free=list(range(pages - 1, 0, -1)),
                of_row=[[] for _ in range(rows)],
            )

    def takes(self, tokens: int, planned: int) -> bool:
        """Whether other rows, of so many tokens at most and planned with so many, can be decoded here too."""
        return tokens <= self.tokens and planned <= self.planned

    def fits(self, tokens: Iterable[int]) -> bool:
        """Whether rows of so many tokens, without the prefix, can be held together."""
        counts = list(tokens)
        return all(sum(map(pool.needed, counts)) < pool.pages for pool in self._pools.values())

    def reserve(self, row: int, tokens: int) -> bool:
        """Have pages for so many tokens of a row, without the prefix; False if there are none left."""
        missing = [(pool, pool.needed(tokens) - len(pool.of_row[row])) for pool in self._pools.values()]
        if any(count > len(pool.free) for pool, count in missing):
            return False
        for pool, count in missing:
            if count > 0:
                pages = [pool.free.pop() for _ in range(count)]
                begin = len(pool.of_row[row])
                pool.of_row[row] += pages
                pool.draft[row, begin : begin + count] = torch.tensor(pages, dtype=torch.int32)
                pool.stale = True
        return True

    def release(self, rows: Sequence[int]) -> None:
        """Hold nothing of these rows."""
        super().release(rows)
        for pool in self._pools.values():
            for row in rows:
                if pool.of_row[row]:
                    pool.free += pool.of_row[row]
                    pool.of_row[row] = []
                    pool.draft[row] = 0
                    pool.stale = True

    def begin_filling(self, rows: torch.Tensor, start: torch.Tensor, tokens: int) -> None:
        """As `KeyValues.begin_filling`; what was reserved is known on the GPU from here on."""
        super().begin_filling(rows, start, tokens)
        self.count[rows] -= self._common
        self._tell()
        self._start = start.to(torch.int32)
        self._tables = {window: pool.table[rows] for window, pool in self._pools.items()}

    def begin_steps(self) -> None:
        """As `KeyValues.begin_steps`, likewise."""
        super().begin_steps()
        self._tell()

    def _tell(self) -> None:
        # Nobody writes over a draft while it is copied: before rows reserve again, tokens of the GPU are waited for.
        for pool in self._pools.values():
            if pool.stale:
                pool.table.copy_(pool.draft, non_blocking=True)
                pool.stale = False

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        """Store new keys and values of a layer; return those to attend to.

        Prompts attend to their own and, beside them, to the prefix: a pair each. Steps attend to what is `Paged`.
        """
        from workflow_scripts.engines.local import slot_attention

        if not self._keys:
            self._allocate(key_states)
        window = self.windows[layer_idx]
        pool = self._pools[window]
        prefixes = (None, None) if self.prefix is None else (self.prefix.keys[layer_idx], self.prefix.values[layer_idx])
        keys, values = (
            Paged(layers[layer_idx], pool.table, pool.slots, pool.window, pool.ahead, prefix)
            for layers, prefix in zip((self._keys, self._values), prefixes, strict=True)
        )
        if self._filling is None:
            slot_attention.store_new(key_states, value_states, keys, values, self.count)
            return (keys, values) if window is None else (keys._replace(prefix=None), values._replace(prefix=None))
        table = self._tables[window]
        keys, values = keys._replace(table=table), values._replace(table=table)
        slot_attention.store_prompts(key_states, value_states, keys, values, self._start)
        if self.prefix is None:
            return key_states, value_states
        return (key_states, keys.prefix), (value_states, values.prefix)

    def _allocate(self, like: torch.Tensor) -> None:
        _, heads, _, width = like.shape
        for layers in (self._keys, self._values):
            layers += [like.new_empty(self._pools[window].pages, heads, PAGE, width) for window in self.windows]

    def select(self, rows: Sequence[int]) -> None:
        """Go on with these rows alone, in this order: nothing is copied but their tables."""
        places = torch.tensor(rows, device=self._device)
        gone = sorted(set(range(self.rows)) - set(rows))
        for pool in self._pools.values():
            pool.free += [page for row in gone for page in pool.of_row[row]]
            pool.of_row = [pool.of_row[row] for row in rows]
            draft = pool.draft[list(rows)]
            pool.draft = draft.pin_memory() if self._device.type == "cuda" else draft
            pool.table = pool.table[places]
            pool.stale = True
        self.rows, self.count = len(rows), self.count[places]
        self.moves += 1

    def copy(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Give rows the tokens of others; pages for them are reserved."""
        self.count[list(targets)] = self.count[list(sources)]
        for window, pool in self._pools.items():
            pairs = [
                pair
                for source, target in zip(sources, targets, strict=True)
                for pair in zip(pool.of_row[source], pool.of_row[target], strict=False)
            ]
            source, target = torch.tensor(pairs, device=self._device).T
            for layer, of_layer in enumerate(self.windows):
                if of_layer == window:
                    for layers in (self._keys, self._values):
                        layers[layer][target] = layers[layer][source]

    def seen(self, window: int | None) -> torch.Tensor:
        """As the attention to pages takes it: the new token's place among a row's in pages, twice, (rows, 1, 1, 2)."""
        place = (self.count + self._pools[window].ahead).to(torch.int32)
        return place[:, None, None, None].repeat(1, 1, 1, 2)
