"""How many rows fit on the device at once. It changes speed alone: the gradient of a step is the same sum."""

import torch

TYPICAL = 400
"""Tokens of a usual row: one image, a question, a short answer."""

PRESETS = ((16, 4), (24, 8), (40, 16), (80, 32), (140, 64))
"""GiB of the card → rows of `TYPICAL` tokens. Measured with NF4, stored features and no checkpointing: 41 GiB at 32
rows, 50 at 40 (docs/performance.md), with fp8 six more. Layers that are not fused take 51 at 32, 1.5 a row and 3 of
weights: the smaller cards follow from these."""


def card_gib() -> float | None:
    """Memory of the GPU in GiB; None without one."""
    if not torch.cuda.is_available():
        return None
    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 2**30


def micro_batch(most: int | None, batch: int, processes: int, gib: float | None) -> int:
    """Rows at once on each of `processes` devices: as many as divide its share evenly and are at most `most`.

    None: at most the preset of a card of `gib`.

    Raises:
        ValueError: the batch cannot be shared evenly.
    """
    share, rest = divmod(batch, processes)
    if rest:
        raise ValueError(f"batch {batch} cannot be shared by {processes} processes; choose a multiple")
    if most is None:
        most = share if gib is None else max([rows for size, rows in PRESETS if size <= gib * 1.05], default=2)
    return max(rows for rows in range(1, share + 1) if share % rows == 0 and rows <= most)


def token_parts(lengths: list[int], budget: int, least: int = 1) -> list[list[int]]:
    """Places of a batch's rows in parts whose padded size stays within `budget` tokens, long rows apart from short.

    A row longer than the budget is a part of its own.

    Args:
        lengths: tokens of each row.
        budget: tokens of a part, padding included.
        least: parts at least; several processes need as many as each other.

    Raises:
        ValueError: there are fewer rows than `least`.
    """
    if len(lengths) < least:
        raise ValueError(f"{len(lengths)} rows cannot be {least} parts")
    parts: list[list[int]] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        # The first row of a part is its longest.
        if parts and (len(parts[-1]) + 1) * lengths[parts[-1][0]] <= budget:
            parts[-1].append(place)
        else:
            parts.append([place])
    while len(parts) < least:
        largest = max(range(len(parts)), key=lambda number: len(parts[number]))
        rows = parts[largest]
        parts[largest : largest + 1] = [rows[: len(rows) // 2], rows[len(rows) // 2 :]]
    return parts
