"""Gemma's gated unit on frozen products alone, the low-rank sums added within the pass; for products of 8-bit codes.

Added to each output by themselves, these sums would read and write gate, up and their product's gradient once more.
"""

import torch
import triton
import triton.language as tl

from workflow_scripts.models.fused.training.gated import tanh_gelu

TILE, BACK_TILE = (64, 64), (16, 128)
"""Rows and columns of a program: the fastest on an H100."""


@triton.jit
def _gated_low(
    both, narrow, ups, product, rows, width, rank, ROWS: tl.constexpr, COLUMNS: tl.constexpr, RANK: tl.constexpr
):
    row = (tl.program_id(1) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    member = tl.arange(0, RANK)[None, :]
    inside = (row < rows) & (column < width)
    low = tl.load(narrow + row * rank + member, (row < rows) & (member < rank), 0.0)
    channel = tl.trans(column)
    known = (channel < width) & (member < rank)
    source = both + row * 2 * width + column
    gate = tl.load(source, inside, 0.0).to(tl.float32)
    gate += tl.dot(low, tl.trans(tl.load(ups + channel * rank + member, known, 0.0)))
    up = tl.load(source + width, inside, 0.0).to(tl.float32)
    up += tl.dot(low, tl.trans(tl.load(ups + (width + channel) * rank + member, known, 0.0)))
    kind = both.dtype.element_ty
    value, _ = tanh_gelu(gate.to(kind).to(tl.float32))
    value = value.to(kind).to(tl.float32) * up.to(kind).to(tl.float32)
    tl.store(product + row * width + column, value, inside)


@triton.jit
def _gated_low_back(
    both, narrow, ups, gradient, back, downs, rows, width, rank, back_rank, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
    RANK: tl.constexpr, BACK_RANK: tl.constexpr,
):  # fmt: skip
    row = (tl.program_id(1) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = (tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    member = tl.arange(0, RANK)[None, :]
    inside = (row < rows) & (column < width)
    low = tl.load(narrow + row * rank + member, (row < rows) & (member < rank), 0.0)
    channel = tl.trans(column)
    known = (channel < width) & (member < rank)
    source = both + row * 2 * width + column
    gate = tl.load(source, inside, 0.0).to(tl.float32)
    gate += tl.dot(low, tl.trans(tl.load(ups + channel * rank + member, known, 0.0)))
    up = tl.load(source + width, inside, 0.0).to(tl.float32)
    up += tl.dot(low, tl.trans(tl.load(ups + (width + channel) * rank + member, known, 0.0)))
    place = gradient + row * width + column
    outer = tl.load(place, inside, 0.0).to(tl.float32)
    other = tl.arange(0, BACK_RANK)
    low = tl.load(back + row * back_rank + other[None, :], (row < rows) & (other < back_rank)[None, :], 0.0)
    down = tl.load(downs + other[:, None] * width + column, (other < back_rank)[:, None] & (column < width), 0.0)
    kind = both.dtype.element_ty
    outer = (outer + tl.dot(low, down)).to(kind).to(tl.float32)
    up = up.to(kind).to(tl.float32)
    value, slope = tanh_gelu(gate.to(kind).to(tl.float32))
    value = value.to(kind).to(tl.float32)
    tl.store(source, outer * up * slope, inside)
    tl.store(source + width, outer * value, inside)
    tl.store(place, up * value, inside)


def gated_low(both: torch.Tensor, narrow: torch.Tensor, ups: torch.Tensor) -> torch.Tensor:
    """`gelu_tanh(gate) · up`, (rows, width), of `both + narrow upsᵀ`: gate and up side by side.

    Args:
        both: (rows, 2 × width), contiguous.
        narrow: (rows, rank), contiguous.
        ups: (2 × width, rank), contiguous.
    """
    (rows, rank), width = narrow.shape, both.shape[1] // 2
    product = both.new_empty(rows, width)
    _gated_low[_grid(rows, width, TILE)](
        both, narrow, ups, product, rows, width, rank, *TILE, triton.next_power_of_2(rank), num_warps=4
    )
    return product


def gated_low_back_(
    both: torch.Tensor,
    narrow: torch.Tensor,
    ups: torch.Tensor,
    gradient: torch.Tensor,
    back: torch.Tensor,
    downs: torch.Tensor,
) -> None:
    """Write the gradients of gate and up over `both`, and the product over `gradient`.

    Args:
        both, narrow, ups: as `gated_low` takes them.
        gradient, back, downs: the gradient of the product is `gradient + back downs`: contiguous (rows, width),
            (rows, rank) and (rank, width).
    """
    rows, width = gradient.shape
    _gated_low_back[_grid(rows, width, BACK_TILE)](
        both, narrow, ups, gradient, back, downs, rows, width, narrow.shape[1], back.shape[1], *BACK_TILE,
        triton.next_power_of_2(narrow.shape[1]), triton.next_power_of_2(back.shape[1]), num_warps=4,
    )  # fmt: skip


def _grid(rows: int, width: int, tile: tuple[int, int]) -> tuple[int, int]:
    """Columns first: tiles of the same rows run side by side."""
    return triton.cdiv(width, tile[1]), triton.cdiv(rows, tile[0])
