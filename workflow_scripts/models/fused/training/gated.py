"""Gemma's gated unit on gate and up side by side, one pass forward and one backward."""

import torch
import triton
import triton.language as tl


@triton.jit
def tanh_gelu(x):
    """The value of GELU's tanh form, and its derivative."""
    # x/2 · (1 + tanh z) = x · sigmoid(2 z)
    z = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    share = tl.sigmoid(2 * z)
    slope = 0.7978845608028654 * (1 + 0.134145 * x * x)
    return x * share, share + x * 2 * share * (1 - share) * slope


@triton.jit
def _gated(both, product, width, step, product_step, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = place < width
    gate = both + row * step + place
    value, _ = tanh_gelu(tl.load(gate, inside, 0.0).to(tl.float32))
    value = value.to(product.dtype.element_ty).to(tl.float32)
    tl.store(product + row * product_step + place, value * tl.load(gate + width, inside, 0.0).to(tl.float32), inside)


@triton.jit
def _gated_back(both, gradient, width, step, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = place < width
    gate = both + row * step + place
    value, slope = tanh_gelu(tl.load(gate, inside, 0.0).to(tl.float32))
    other = tl.load(gate + width, inside, 0.0).to(tl.float32)
    source = gradient + row * width + place
    outer = tl.load(source, inside, 0.0).to(tl.float32)
    value = value.to(both.dtype.element_ty).to(tl.float32)
    tl.store(gate, outer * other * slope, inside)
    tl.store(gate + width, outer * value, inside)
    tl.store(source, other * value, inside)


BLOCK = 2048


def gated(both: torch.Tensor, width: int, columns: int = 0) -> torch.Tensor:
    """`gelu_tanh(gate) · up`, (rows, width + columns) with anything in the columns beside.

    Args:
        both: gate and up side by side, and what lies beside these, (rows, at least 2 × width).
    """
    rows = len(both)
    product = both.new_empty(rows, width + columns)
    _gated[(rows, triton.cdiv(width, BLOCK))](
        both, product, width, both.stride(0), product.stride(0), BLOCK, num_warps=8
    )
    return product


def gated_back_(both: torch.Tensor, gradient: torch.Tensor) -> None:
    """Write the gradients of gate and up over these, and the product over the `gradient` of it.

    Args:
        both: as `gated` takes it.
        gradient: contiguous (rows, width).
    """
    rows, width = gradient.shape
    _gated_back[(rows, triton.cdiv(width, BLOCK))](both, gradient, width, both.stride(0), BLOCK, num_warps=8)
