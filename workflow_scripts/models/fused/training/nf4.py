"""Weights of 4 bits, dequantised in one pass to part of a larger matrix."""

from typing import Any

import torch
import triton
import triton.language as tl

BLOCK = 2048


@triton.jit
def _dequantise(
    packed, scales, levels, beside, target, width, columns, step, beside_step, BLOCKSIZE: tl.constexpr,
    BLOCK: tl.constexpr, BESIDE: tl.constexpr,
):  # fmt: skip
    row, place = tl.program_id(0).to(tl.int64), tl.program_id(1) * (BLOCK // 2) + tl.arange(0, BLOCK // 2)
    inside = place < width // 2
    byte = tl.load(packed + row * (width // 2) + place, inside, 0).to(tl.int32)
    # Both values of a byte are of one block, whose size is even.
    scale = tl.load(scales + (row * width + place * 2) // BLOCKSIZE, inside, 0.0)
    kind = target.dtype.element_ty
    first = (tl.load(levels + (byte >> 4)) * scale).to(kind)
    second = (tl.load(levels + (byte & 15)) * scale).to(kind)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    tl.store(target + row * step + column, tl.interleave(first, second), column < width)
    if tl.program_id(1) == 0:
        other = tl.arange(0, BESIDE)
        value = tl.load(beside + row * beside_step + other, other < columns, 0.0)
        tl.store(target + row * step + width + other, value, other < columns)


def dequantise_into(target: torch.Tensor, packed: torch.Tensor, state: Any, beside: torch.Tensor) -> None:
    """Write the weight that bitsandbytes packed, two values a byte, to the left of `target`, and `beside` to its right.

    Args:
        target: (out, in + columns), whose rows may lie apart.
        state: of the weight (out, in); the scales of its blocks are not quantised themselves.
        beside: (out, columns).
    """
    rows, width = state.shape
    _dequantise[(rows, triton.cdiv(width, BLOCK))](
        packed, state.absmax, state.code, beside, target, width, beside.shape[1], target.stride(0), beside.stride(0),
        state.blocksize, BLOCK, triton.next_power_of_2(beside.shape[1]), num_warps=4,
    )  # fmt: skip
