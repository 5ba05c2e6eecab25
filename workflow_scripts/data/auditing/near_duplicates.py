"""Images that look the same across split folders: found by the Hamming distance of their difference hashes.

All pairs are compared, some hundred million in a second: nothing that is near is missed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NEAR, NEAR_FINE = 6, 32
"""Bits of 64, and of 256, in which two images may differ and still look the same.

On radiographs and micrographs all new encodings and halved sizes lie within, and nine of ten crops of 2 % at each side;
the nearest two different ones differ in 5 and 44.
"""

BLOCK = 32
"""Images compared with all others at a time: as many as leave the distances in the processor's cache."""


class Look(NamedTuple):
    """What an image looks like, and how late its split folder comes in the order of folders."""

    dhash: str  # 16 hexadecimal digits
    dhash_fine: str  # 64
    order: int


class Near(NamedTuple):
    """Two images that look the same, by their places in the list; `other` is in a later folder."""

    one: int
    other: int
    bits: int  # of 256 that differ


def near_duplicates(looks: Sequence[Look]) -> list[Near]:
    """The image of a later folder that looks most like each that has one within `NEAR` and `NEAR_FINE`."""
    orders = np.array([look.order for look in looks], dtype=np.int64)
    coarse = np.frombuffer(bytes.fromhex("".join(look.dhash for look in looks)), np.uint64)
    fine = np.frombuffer(bytes.fromhex("".join(look.dhash_fine for look in looks)), np.uint64).reshape(-1, 4)
    nearest = []
    for order in sorted(set(orders.tolist()))[:-1]:
        ones, others = np.flatnonzero(orders == order), np.flatnonzero(orders > order)
        for start in range(0, len(ones), BLOCK):
            nearest += _nearest(ones[start : start + BLOCK], others, coarse, fine)
    return nearest


def _nearest(ones: np.ndarray, others: np.ndarray, coarse: np.ndarray, fine: np.ndarray) -> list[Near]:
    distances = np.bitwise_count(coarse[ones, None] ^ coarse[None, others])
    lines, columns = np.divmod(np.flatnonzero(distances <= NEAR), len(others))  # np.nonzero is slow in two dimensions
    if not len(lines):
        return []
    bits = np.bitwise_count(fine[ones[lines]] ^ fine[others[columns]]).sum(axis=1)
    order = np.lexsort((columns, bits, lines))
    order = order[bits[order] <= NEAR_FINE]
    _, first = np.unique(lines[order], return_index=True)
    return [Near(int(ones[lines[i]]), int(others[columns[i]]), int(bits[i])) for i in order[first]]
