"""Gemma's norms on a GPU, one pass forward and, in training, one backward each; the norms' weights are frozen.

A layer's norms, residual sums and rotary embedding read and write its whole state some fourteen times; beside the
matrix products that is what a step's time goes into. Values are rounded where the model rounds.
"""

import torch
import triton
import triton.language as tl


@triton.jit
def _inverse_root(x, size, eps):
    return tl.rsqrt(tl.sum(x * x, 0) / size + eps)


@triton.jit
def _norm_gradient(gradient, x, inverse, size):
    """Of the normed value x · inverse with respect to x, times `gradient`, which holds the norm's weight."""
    normed = x * inverse
    return inverse * (gradient - normed * (tl.sum(gradient * normed, 0) / size))


@triton.jit
def _add_norm(
    residual, x, weight, next_weight, total, normed, size, step, eps, NEXT: tl.constexpr, BLOCK: tl.constexpr
):
    column = tl.arange(0, BLOCK)
    inside = column < size
    start = tl.program_id(0).to(tl.int64) * size
    kind = total.dtype.element_ty
    value = tl.load(x + start + column, inside, 0.0).to(tl.float32)
    value = value * _inverse_root(value, size, eps) * (1 + tl.load(weight + column, inside, 0.0).to(tl.float32))
    value = value.to(kind).to(tl.float32) + tl.load(residual + start + column, inside, 0.0).to(tl.float32)
    value = value.to(kind)
    tl.store(total + start + column, value, inside)
    if NEXT:
        value = value.to(tl.float32)
        scale = 1 + tl.load(next_weight + column, inside, 0.0).to(tl.float32)
        normed += tl.program_id(0).to(tl.int64) * step
        tl.store(normed + column, value * _inverse_root(value, size, eps) * scale, inside)


def add_norm(
    residual: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    next_weight: torch.Tensor | None,
    eps: float,
    extra: int = 0,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """`total = residual + norm(x)` and, where there is a next norm, `norm(total)`; (…, size) each, contiguous.

    Args:
        extra: columns that are left after those of the next norm's, with anything in them.
    """
    size = x.shape[-1]
    total = torch.empty_like(x)
    normed = None if next_weight is None else x.new_empty(*x.shape[:-1], size + extra)
    _add_norm[(x.numel() // size,)](
        residual, x, weight, weight if next_weight is None else next_weight, total, total if normed is None else normed,
        size, size + extra, eps, next_weight is not None, triton.next_power_of_2(size), num_warps=8,
    )  # fmt: skip
    return total, normed


@triton.jit
def _add_norm_back(
    grad_total, grad_normed, total, x, weight, next_weight, grad_residual, grad_x, size, step, eps, NEXT: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    column = tl.arange(0, BLOCK)
    inside = column < size
    row = tl.program_id(0).to(tl.int64)
    start = row * size
    gradient = tl.load(grad_total + start + column, inside, 0.0).to(tl.float32)
    if NEXT:
        value = tl.load(total + start + column, inside, 0.0).to(tl.float32)
        scale = 1 + tl.load(next_weight + column, inside, 0.0).to(tl.float32)
        through = tl.load(grad_normed + start + column, inside, 0.0).to(tl.float32) * scale
        gradient += _norm_gradient(through, value, _inverse_root(value, size, eps), size)
        tl.store(grad_residual + start + column, gradient, inside)
    value = tl.load(x + start + column, inside, 0.0).to(tl.float32)
    scale = 1 + tl.load(weight + column, inside, 0.0).to(tl.float32)
    inverse = _inverse_root(value, size, eps)
    tl.store(grad_x + row * step + column, _norm_gradient(gradient * scale, value, inverse, size), inside)


class AddNorm(torch.autograd.Function):
    """`total = residual + norm(x)` and, where there is a next norm, `norm(total)`; (…, size) each.

    `columns` are left beside the normed values, and `columns_back` beside the gradient of x, for what a product adds.
    """

    @staticmethod
    def forward(ctx, residual, x, weight, next_weight, eps, columns=0, columns_back=0):
        residual, x = residual.contiguous(), x.contiguous()
        total, normed = add_norm(residual, x, weight, next_weight, eps, columns)
        ctx.save_for_backward(x, total if next_weight is not None else x, weight, next_weight)
        ctx.eps, ctx.columns_back = eps, columns_back
        return (total, normed[..., : x.shape[-1]]) if normed is not None else total

    @staticmethod
    def backward(ctx, grad_total, grad_normed=None):
        x, total, weight, next_weight = ctx.saved_tensors
        following = next_weight is not None
        grad_total = grad_total.contiguous()
        grad_normed = grad_normed.contiguous() if following else grad_total
        size = x.shape[-1]
        grad_residual = torch.empty_like(x) if following else grad_total
        step = size + ctx.columns_back
        grad_x = x.new_empty(*x.shape[:-1], step)
        _add_norm_back[(x.numel() // size,)](
            grad_total, grad_normed, total, x, weight, next_weight if following else weight, grad_residual, grad_x,
            size, step, ctx.eps, following, triton.next_power_of_2(size), num_warps=8,
        )  # fmt: skip
        return grad_residual, grad_x[..., :size], None, None, None, None, None


@triton.jit
def _norm_rope_back(
    grad, x, weight, cos, sin, grad_x, tokens, x_step, target_step, eps, grad_row, grad_head, grad_token,
    HEADS: tl.constexpr, HALF: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0).to(tl.int64)
    row, place = token // tokens, token % tokens
    head, column = tl.arange(0, HEADS)[:, None], tl.arange(0, HALF)[None, :]
    source = grad + row * grad_row + head * grad_head + place * grad_token + column
    grad_1, grad_2 = tl.load(source).to(tl.float32), tl.load(source + HALF).to(tl.float32)
    angle = token * HALF * 2 + column
    cos_1, cos_2 = tl.load(cos + angle).to(tl.float32), tl.load(cos + angle + HALF).to(tl.float32)
    sin_1, sin_2 = tl.load(sin + angle).to(tl.float32), tl.load(sin + angle + HALF).to(tl.float32)
    turned_1 = (grad_1 * cos_1 + grad_2 * sin_2) * (1 + tl.load(weight + column).to(tl.float32))
    turned_2 = (grad_2 * cos_2 - grad_1 * sin_1) * (1 + tl.load(weight + HALF + column).to(tl.float32))
    inner = head * HALF * 2 + column
    source = x + token * x_step + inner
    first, second = tl.load(source).to(tl.float32), tl.load(source + HALF).to(tl.float32)
    mean = (tl.sum(first * first, 1) + tl.sum(second * second, 1)) / (HALF * 2)
    scale = tl.rsqrt(mean + eps)[:, None]
    first, second = first * scale, second * scale
    along = ((tl.sum(turned_1 * first, 1) + tl.sum(turned_2 * second, 1)) / (HALF * 2))[:, None]
    target = grad_x + token * target_step + inner
    tl.store(target, scale * (turned_1 - first * along))
    tl.store(target + HALF, scale * (turned_2 - second * along))


def norm_rope_back(
    grad: torch.Tensor,
    x: torch.Tensor,
    weight: torch.Tensor,
    eps: float,
    cos: torch.Tensor,
    sin: torch.Tensor,
    target: torch.Tensor,
) -> None:
    """Write the gradient of x to `target`, (rows × tokens, size), of that of `norm_rope`'s value.

    Args:
        grad: (rows, heads, tokens, width), in whatever order it lies.
        x: as `norm_rope` was given it, (rows, tokens, size): part of the columns of a contiguous tensor, or all.
        cos, sin: (rows, tokens, width), contiguous.
    """
    rows, heads, tokens, width = grad.shape
    if grad.stride(-1) != 1:
        grad = grad.contiguous()
    _norm_rope_back[(rows * tokens,)](
        grad, x, weight, cos, sin, target, tokens, x.stride(1), target.stride(0), eps, *grad.stride()[:3], heads,
        width // 2, num_warps=4,
    )  # fmt: skip
