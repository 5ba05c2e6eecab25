"""Norm and rotary embedding of queries and keys in one pass, for Gemma 3 on a GPU; in training and in inference."""

import torch
import triton
import triton.language as tl


@triton.jit
def _norm_rope(
    x, weight, cos, sin, y, tokens, step, eps, HEADS: tl.constexpr, HALF: tl.constexpr, TURNED: tl.constexpr
):
    token = tl.program_id(0).to(tl.int64)  # of all rows
    row, place = token // tokens, token % tokens
    head, column = tl.arange(0, HEADS)[:, None], tl.arange(0, HALF)[None, :]
    source = x + token * step + head * HALF * 2 + column
    first, second = tl.load(source).to(tl.float32), tl.load(source + HALF).to(tl.float32)
    mean = (tl.sum(first * first, 1) + tl.sum(second * second, 1)) / (HALF * 2)
    scale = tl.rsqrt(mean + eps)[:, None]
    # Rounded where the model rounds: after the norm.
    first = (first * scale * (1 + tl.load(weight + column).to(tl.float32))).to(y.dtype.element_ty).to(tl.float32)
    second = (second * scale * (1 + tl.load(weight + HALF + column).to(tl.float32))).to(y.dtype.element_ty)
    second = second.to(tl.float32)
    angle = token * HALF * 2 + column
    cos_1, cos_2 = tl.load(cos + angle).to(tl.float32), tl.load(cos + angle + HALF).to(tl.float32)
    sin_1, sin_2 = tl.load(sin + angle).to(tl.float32), tl.load(sin + angle + HALF).to(tl.float32)
    order = (row * HEADS + head) * tokens + place if TURNED else token * HEADS + head
    target = y + order * HALF * 2 + column
    tl.store(target, first * cos_1 - second * sin_1)
    tl.store(target + HALF, second * cos_2 + first * sin_2)


def norm_rope(
    x: torch.Tensor,
    weight: torch.Tensor,
    eps: float,
    cos: torch.Tensor,
    sin: torch.Tensor,
    heads: int,
    *,
    turned: bool = True,
) -> torch.Tensor:
    """RMSNorm of each head and rotary embedding: (rows, tokens, heads × width) to (rows, heads, tokens, width).

    Args:
        x: part of the columns of a contiguous tensor, or all.
        weight: (width,), as Gemma's norms keep it: less one.
        cos, sin: (rows, tokens, width).
        turned: whether heads come before tokens in memory too.
    """
    rows, tokens, size = x.shape
    width = size // heads
    if x.stride(2) != 1 or x.stride(0) != tokens * x.stride(1):
        x = x.contiguous()
    y = torch.empty(
        *((rows, heads, tokens) if turned else (rows, tokens, heads)), width, dtype=x.dtype, device=x.device
    )
    _norm_rope[(rows * tokens,)](
        x, weight, cos.contiguous(), sin.contiguous(), y, tokens, x.stride(1), eps, heads, width // 2, turned,
        num_warps=4,
    )  # fmt: skip
    return y if turned else y.transpose(1, 2)
