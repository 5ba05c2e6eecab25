"""Passes over memory that write 8-bit codes, for Gemma 3 on a GPU: each is the pass before a product in codes.

Values are rounded to the model's dtype where the model rounds, and only then to codes.
"""

import torch
import triton
import triton.language as tl

from workflow_scripts.models.fused.float8 import E4M3, LARGEST, SMALLEST_SCALE, Float8


@triton.jit
def write_codes(value, codes, scales, row, column, inside, LARGEST: tl.constexpr, SMALLEST: tl.constexpr):
    """Codes of a row's float32 values, and its scale."""
    scale = tl.maximum(tl.max(tl.abs(value), 0) / LARGEST, SMALLEST)
    tl.store(scales + row, scale)
    tl.store(codes + column, (value * (1 / scale)).to(tl.float8e4nv), inside)


@triton.jit
def _quantise_rows(
    x, codes, scales, size, step, code_step, LARGEST: tl.constexpr, SMALLEST: tl.constexpr, BLOCK: tl.constexpr
):
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < size
    value = tl.load(x + row * step + column, inside, 0.0).to(tl.float32)
    write_codes(value, codes + row * code_step, scales, row, column, inside, LARGEST, SMALLEST)


def quantise_rows_on_gpu(x: torch.Tensor, extra: int = 0) -> Float8:
    """`quantise_rows`; values of a row of x lie side by side."""
    size = x.shape[-1]
    flat = x.reshape(-1, size)
    out = codes_like(x, size, extra)
    block = triton.next_power_of_2(size)
    _quantise_rows[(len(flat),)](
        flat, out.codes, out.scales, size, flat.stride(0), size + extra, LARGEST, SMALLEST_SCALE, block,
        num_warps=warps_of(block),
    )  # fmt: skip
    return out


@triton.jit
def _add_norm_codes(
    residual, x, weight, next_weight, total, codes, scales, size, code_step, eps, LARGEST: tl.constexpr,
    SMALLEST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < size
    place = row * size + column
    kind = total.dtype.element_ty
    value = tl.load(x + place, inside, 0.0).to(tl.float32)
    value = value * tl.rsqrt(tl.sum(value * value, 0) / size + eps)
    value = value * (1 + tl.load(weight + column, inside, 0.0).to(tl.float32))
    value = value.to(kind).to(tl.float32) + tl.load(residual + place, inside, 0.0).to(tl.float32)
    value = value.to(kind)
    tl.store(total + place, value, inside)
    value = value.to(tl.float32)
    value = value * tl.rsqrt(tl.sum(value * value, 0) / size + eps)
    value = value * (1 + tl.load(next_weight + column, inside, 0.0).to(tl.float32))
    value = value.to(kind).to(tl.float32)
    write_codes(value, codes + row * code_step, scales, row, column, inside, LARGEST, SMALLEST)


def add_norm_in_codes(
    residual: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    next_weight: torch.Tensor,
    eps: float,
    extra: int = 0,
) -> tuple[torch.Tensor, Float8]:
    """`norms.add_norm`, the next norm's values in codes."""
    size = x.shape[-1]
    total, out = torch.empty_like(x), codes_like(x, size, extra)
    block = triton.next_power_of_2(size)
    _add_norm_codes[(x.numel() // size,)](
        residual, x, weight, next_weight, total, out.codes, out.scales, size, size + extra, eps, LARGEST,
        SMALLEST_SCALE, block, num_warps=warps_of(block),
    )  # fmt: skip
    return total, out


@triton.jit
def _gelu_gate_codes(
    both, codes, scales, width, code_step, LARGEST: tl.constexpr, SMALLEST: tl.constexpr, BLOCK: tl.constexpr
):
    row, column = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    inside = column < width
    gate = both + row * 2 * width + column
    kind = both.dtype.element_ty
    x = tl.load(gate, inside, 0.0).to(tl.float32)
    # x/2 · (1 + tanh z) = x · sigmoid(2 z)
    z = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    value = (x * tl.sigmoid(2 * z)).to(kind).to(tl.float32) * tl.load(gate + width, inside, 0.0).to(tl.float32)
    value = value.to(kind).to(tl.float32)
    write_codes(value, codes + row * code_step, scales, row, column, inside, LARGEST, SMALLEST)


def gelu_gate_in_codes(both: torch.Tensor, extra: int = 0) -> Float8:
    """`gelu_tanh(gate) · up` of gate and up side by side, contiguous (…, 2 × width), in codes."""
    width = both.shape[-1] // 2
    out = codes_like(both, width, extra)
    block = triton.next_power_of_2(width)
    _gelu_gate_codes[(len(out.scales),)](
        both, out.codes, out.scales, width, width + extra, LARGEST, SMALLEST_SCALE, block, num_warps=warps_of(block)
    )
    return out


@triton.jit
def _low_rank_columns(
    narrow, codes, rows, width, step, rank, ROWS: tl.constexpr, COLUMNS: tl.constexpr, FINER: tl.constexpr
):
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS)).to(tl.int64)[:, None]
    column = tl.arange(0, COLUMNS)[None, :]
    part, member = column // rank, column % rank
    inside = (row < rows) & (part < 3)
    value = tl.load(narrow + row * 2 * rank + member, inside, 0.0).to(tl.float32)
    value += tl.load(narrow + (row * 2 + 1) * rank + member, inside, 0.0).to(tl.float32) / FINER
    coarse = value.to(tl.float8e4nv).to(tl.float32)
    value = tl.where(part == 1, (value - coarse) * FINER, coarse)
    tl.store(codes + row * step + width + column, value.to(tl.float8e4nv), (row < rows) & (width + column < step))


def write_low_rank_columns(narrow: torch.Tensor, codes: torch.Tensor, width: int, finer: float) -> None:
    """Write [t₁, t₂, t₁] and zeros from column `width` on into contiguous codes, see `joint.JointFloat8Projection`.

    Args:
        narrow: t and `finer` × what is missing to it, side by side: (rows, 2 × rank).
    """
    rows, step = codes.shape
    _low_rank_columns[(triton.cdiv(rows, 8),)](
        narrow, codes, rows, width, step, narrow.shape[1] // 2, 8, triton.next_power_of_2(step - width), finer,
        num_warps=4,
    )  # fmt: skip


def codes_like(x: torch.Tensor, size: int, extra: int = 0) -> Float8:
    """Codes, not yet written, of rows of `size` values and of columns beside them, and scales of the rows of x."""
    return Float8(
        torch.empty(*x.shape[:-1], size + extra, dtype=E4M3, device=x.device),
        torch.empty(x.numel() // x.shape[-1], 1, dtype=torch.float32, device=x.device),
    )


def warps_of(block: int) -> int:
    """Warps of a program that handles a row of `block` values."""
    return min(8, max(4, block // 1024))
