"""Gemma's gated unit and what its adapters' products need of it, one pass forward and one backward.

Gate, up, their product and the gradients of these are the widest arrays of a layer, and a low-rank product reads one of
them to write next to nothing. So all such products are made of what a pass holds anyway: the low-rank sums of gate and
up; of the unit's product, what goes into that of the projection after it; of the gradients of gate and up, what goes
into that of the input, and the gradients of the adapters' own weights.

Each program sums over its own rows or columns. What several programs add up to is summed in one order afterwards, so
that the same step gives the same bits.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

LEAST = 16
"""The fewest ranks, rows or columns that a matrix product of Triton takes."""

LINE = 128
"""Bytes that memory gives at once: rows that start at a multiple are read and written faster."""

FORWARD_TILE, FORWARD_CHUNK, FORWARD = (64, 64), 2048, {"num_warps": 4, "num_stages": 3}
BACK_TILE, BACK_PROGRAMS, BACK = (64, 64), 1024, {"num_warps": 4, "num_stages": 1}
"""Rows and columns of a tile, columns of a program forward, about how many programs backward: fastest on an H100."""

RANKED, RANKED_BYTES = 227 * 1024, 256
"""Bytes of shared memory that are enough for the passes with so many bytes of ranks; in proportion with fewer."""


class LowRank(NamedTuple):
    """The adapters of gate and up, and what they made of the input."""

    narrow: torch.Tensor  # x Aᵀ, (rows, extra): gate's ranks, up's, and zeros
    ups: torch.Tensor  # scaled B, (2 × width, extra)
    ranks: tuple[int, int]  # gate's and up's


class BackSums(NamedTuple):
    """What the adapters' products need of the gradients of gate and up, and of the unit's product."""

    back: torch.Tensor  # s g B of gate and up, (rows, extra), in the dtype of the gradients
    of_gate: torch.Tensor  # gᵀ (x Aᵀ) of gate, (width, rank), float32
    of_up: torch.Tensor
    of_down: torch.Tensor  # (s g B)ᵀ of the projection after the unit with the unit's product, (extra, width), float32


@triton.jit
def _sigmoid(x):
    """1 / (1 + 2 to the power of -x), by the device's own approximations: exact to 3e-7 of it, and 0 far below."""
    power = tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [-x], tl.float32, True, 1)
    return tl.inline_asm_elementwise("rcp.approx.ftz.f32 $0, $1;", "=f,f", [1 + power], tl.float32, True, 1)


@triton.jit
def tanh_gelu(x):
    """The value of GELU's tanh form, and its derivative."""
    # x/2 · (1 + tanh z) = x · sigmoid(2 z), with z = √(2/π) (x + .044715 x³); sigmoids here are to the base of 2
    square = x * x
    share = _sigmoid(x * (2.302208198 + 0.1029432397 * square))
    value = x * share
    return value, share + (value - value * share) * (1.5957691216 + 0.2140644488 * square)


@triton.jit
def _ranks(place, lines, step, width, start, count, RANK: tl.constexpr):
    """Of a matrix of `width` lines, those at `lines`: the `count` columns from `start`, (lines, RANK)."""
    member = tl.arange(0, RANK)
    inside = (lines < width)[:, None] & (member < count)[None, :]
    return tl.load(place + lines[:, None].to(tl.int64) * step + start + member[None, :], inside, 0.0)


@triton.jit
def _gated(
    both, narrow, ups, downs, product, sums, rows, width, chunk, gate_rank, up_rank, down_rank, both_step, narrow_step,
    ups_step, downs_step, product_step, ROWS: tl.constexpr, COLUMNS: tl.constexpr, RANK: tl.constexpr,
    DOWN_RANK: tl.constexpr,
):  # fmt: skip
    part = tl.program_id(0)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    line = row.to(tl.int64)[:, None]
    low_gate = _ranks(narrow, row, narrow_step, rows, 0, gate_rank, RANK)
    low_up = _ranks(narrow, row, narrow_step, rows, gate_rank, up_rank, RANK)
    member = tl.arange(0, DOWN_RANK)
    low = tl.zeros([ROWS, DOWN_RANK], tl.float32)
    for start in range(part * chunk, min(part * chunk + chunk, width), COLUMNS):
        column = start + tl.arange(0, COLUMNS)
        inside = (row < rows)[:, None] & (column < width)[None, :]
        source = both + line * both_step + column[None, :]
        gate = tl.load(source, inside, 0.0)
        up = tl.load(source + width, inside, 0.0)
        of_gate = _ranks(ups, column, ups_step, width, 0, gate_rank, RANK)
        of_up = _ranks(ups + width * ups_step, column, ups_step, width, gate_rank, up_rank, RANK)
        gate = tl.dot(low_gate, tl.trans(of_gate), gate.to(tl.float32), input_precision="ieee")
        up = tl.dot(low_up, tl.trans(of_up), up.to(tl.float32), input_precision="ieee")
        value, _ = tanh_gelu(gate)
        value = (value * up).to(product.dtype.element_ty)
        tl.store(product + line * product_step + column[None, :], value, inside)
        known = (member < down_rank)[:, None] & (column < width)[None, :]
        down = tl.load(downs + member[:, None] * downs_step + column[None, :], known, 0.0)
        low = tl.dot(value, tl.trans(down), low, input_precision="ieee")
    target = sums + (part * rows + line) * down_rank + member[None, :]
    tl.store(target, low, (row < rows)[:, None] & (member < down_rank)[None, :])


@triton.jit
def _gated_back(
    both, gradient, narrow, ups, back, downs, to_back, to_ups, to_downs, rows, width, chunk, gate_rank, up_rank,
    down_rank, extra, both_step, narrow_step, ups_step, back_step, downs_step, ROWS: tl.constexpr,
    COLUMNS: tl.constexpr, RANK: tl.constexpr, DOWN_RANK: tl.constexpr,
):  # fmt: skip
    strip, part = tl.program_id(0), tl.program_id(1)
    column = strip * COLUMNS + tl.arange(0, COLUMNS)
    member, other = tl.arange(0, RANK), tl.arange(0, DOWN_RANK)
    ups_gate = _ranks(ups, column, ups_step, width, 0, gate_rank, RANK)
    ups_up = _ranks(ups + width * ups_step, column, ups_step, width, gate_rank, up_rank, RANK)
    known = (other < down_rank)[:, None] & (column < width)[None, :]
    down = tl.load(downs + other[:, None] * downs_step + column[None, :], known, 0.0)
    of_gate = tl.zeros([COLUMNS, RANK], tl.float32)
    of_up = tl.zeros([COLUMNS, RANK], tl.float32)
    of_down = tl.zeros([COLUMNS, DOWN_RANK], tl.float32)
    for start in range(part * chunk, min(part * chunk + chunk, rows), ROWS):
        row = start + tl.arange(0, ROWS)
        line = row.to(tl.int64)[:, None]
        inside = (row < rows)[:, None] & (column < width)[None, :]
        source = both + line * both_step + column[None, :]
        gate = tl.load(source, inside, 0.0)
        up = tl.load(source + width, inside, 0.0)
        outer = tl.load(gradient + line * width + column[None, :], inside, 0.0)
        low_gate = _ranks(narrow, row, narrow_step, rows, 0, gate_rank, RANK)
        low_up = _ranks(narrow, row, narrow_step, rows, gate_rank, up_rank, RANK)
        low_down = _ranks(back, row, back_step, rows, 0, down_rank, DOWN_RANK)
        gate = tl.dot(low_gate, tl.trans(ups_gate), gate.to(tl.float32), input_precision="ieee")
        up = tl.dot(low_up, tl.trans(ups_up), up.to(tl.float32), input_precision="ieee")
        outer = tl.dot(low_down, down, outer.to(tl.float32), input_precision="ieee")
        value, slope = tanh_gelu(gate)
        kind = both.dtype.element_ty
        of_up_here = (outer * value).to(kind)
        value = (value * up).to(kind)
        of_gate_here = (outer * up * slope).to(kind)
        tl.store(source, of_gate_here, inside)
        tl.store(source + width, of_up_here, inside)
        of_gate = tl.dot(tl.trans(of_gate_here), low_gate, of_gate, input_precision="ieee")
        of_up = tl.dot(tl.trans(of_up_here), low_up, of_up, input_precision="ieee")
        of_down = tl.dot(tl.trans(value), low_down, of_down, input_precision="ieee")
        target = to_back + (strip * rows + line) * extra + member[None, :]
        of_row = tl.dot(of_gate_here, ups_gate, input_precision="ieee")
        tl.store(target, of_row, (row < rows)[:, None] & (member < gate_rank)[None, :])
        of_row = tl.dot(of_up_here, ups_up, input_precision="ieee")
        tl.store(target + gate_rank, of_row, (row < rows)[:, None] & (member < up_rank)[None, :])
    inside = column < width
    line = (part * width + column).to(tl.int64)[:, None]
    target = to_ups + line * (gate_rank + up_rank) + member[None, :]
    tl.store(target, of_gate, inside[:, None] & (member < gate_rank)[None, :])
    tl.store(target + gate_rank, of_up, inside[:, None] & (member < up_rank)[None, :])
    target = to_downs + line * down_rank + other[None, :]
    tl.store(target, of_down, inside[:, None] & (other < down_rank)[None, :])


def gated(both: torch.Tensor, low: LowRank, downs: torch.Tensor, columns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """`gelu_tanh(gate) · up`, (rows, width), and that times `downsᵀ`.

    Args:
        both: the frozen products of gate and up side by side, (rows, at least 2 × width).
        low: what is to be added to them.
        downs: A of the projection after the unit, (extra, width).
        columns: to leave beside the product, with anything in them: (rows, width + columns).
    """
    rows, (extra, width) = len(both), downs.shape
    product = aligned_empty(both, rows, width + columns)
    parts = triton.cdiv(width, FORWARD_CHUNK)
    sums = torch.empty(parts, rows, extra, dtype=torch.float32, device=both.device)
    _gated[(parts, triton.cdiv(rows, FORWARD_TILE[0]))](
        both, low.narrow, low.ups, downs, product, sums, rows, width, FORWARD_CHUNK, *low.ranks, extra, both.stride(0),
        low.narrow.stride(0), low.ups.stride(0), downs.stride(0), product.stride(0), *FORWARD_TILE,
        _padded(max(low.ranks)), _padded(extra), **FORWARD,
    )  # fmt: skip
    return product, sums.sum(0).to(both.dtype)


def gated_back_(
    both: torch.Tensor, low: LowRank, gradient: torch.Tensor, back: torch.Tensor, downs: torch.Tensor
) -> BackSums:
    """Write the gradients of gate and up over `both`, and give the sums that the adapters' products need.

    Args:
        both, low, downs: as `gated` takes them.
        gradient: of the unit's product through the frozen weights after it, contiguous (rows, width).
        back: s g B of the projection after it, (rows, extra): `back downs` is to be added to the gradient.
    """
    rows, width = gradient.shape
    (tall, wide), ranks = BACK_TILE, low.ranks
    strips = triton.cdiv(width, wide)
    chunk = max(1, triton.cdiv(triton.cdiv(rows * strips, BACK_PROGRAMS), tall)) * tall
    parts = triton.cdiv(rows, chunk)
    extra, rank, down_rank = low.narrow.shape[1], sum(ranks), len(downs)
    to_back = (both.new_empty if rank == extra else both.new_zeros)(strips, rows, extra)
    single = {"dtype": torch.float32, "device": both.device}
    to_ups, to_downs = torch.empty(parts, width, rank, **single), torch.empty(parts, width, down_rank, **single)
    _gated_back[(strips, parts)](
        both, gradient, low.narrow, low.ups, back, downs, to_back, to_ups, to_downs, rows, width, chunk, *ranks,
        down_rank, extra, both.stride(0), low.narrow.stride(0), low.ups.stride(0), back.stride(0), downs.stride(0),
        tall, wide, _padded(max(ranks)), _padded(down_rank), **BACK,
    )  # fmt: skip
    of_gate, of_up = to_ups.sum(0).split(ranks, 1)
    # The dtype is given since autocasting would sum to float32.
    return BackSums(to_back.sum(0, dtype=to_back.dtype), of_gate, of_up, to_downs.sum(0).t())


def fits(rank: int, dtype: torch.dtype, memory: int) -> bool:
    """Whether the passes hold adapters of this rank, of gate, up or down, in `memory` bytes of shared memory."""
    return _padded(rank) * dtype.itemsize * RANKED <= RANKED_BYTES * memory


def _padded(rank: int) -> int:
    """The columns of a tile that holds so many."""
    return max(LEAST, triton.next_power_of_2(rank))


def aligned_empty(like: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """(rows, columns) with anything in it, each row at the start of a line of memory; of the dtype of `like`."""
    members = LINE // like.element_size()
    return like.new_empty(rows, -(-columns // members) * members)[:, :columns]
