"""LoRA on a frozen, possibly 4-bit, projection as one autograd function: the same sums with fewer passes.

PEFT computes `base(x) + scale · B(A(x))` as separate layers, and each of the seven projections of a layer then
reads and writes its full output three times more. Here the low-rank product is added inside the matrix product
(`addmm`), the base weight is dequantised once in each direction, and nothing but the input is kept for the backward
pass. Parameters stay PEFT's own: saving, loading and merging are untouched.
"""

from types import MethodType

import torch
from bitsandbytes.functional import dequantize_4bit
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from peft.tuners.lora import LoraLayer


class FusedLora(torch.autograd.Function):
    """`x Wᵀ + scale · (x Aᵀ) Bᵀ` for frozen W (out, in), with gradients for x, A (r, in) and B (out, r)."""

    @staticmethod
    def forward(ctx, x, weight, state, a, b, scale):
        dense = weight if state is None else dequantize_4bit(weight, state)
        flat = x.reshape(-1, x.shape[-1]).to(dense.dtype)
        a, b = a.to(dense.dtype), b.to(dense.dtype)
        low = flat @ a.t()
        y = (flat @ dense.t()).addmm_(low, b.t(), alpha=scale)
        ctx.save_for_backward(flat, low, a, b, weight)
        ctx.state, ctx.scale, ctx.shape, ctx.dtype = state, scale, x.shape, x.dtype
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    def backward(ctx, grad):
        flat, low, a, b, weight = ctx.saved_tensors
        grad = grad.reshape(-1, grad.shape[-1]).to(flat.dtype)
        back = (grad @ b).mul_(ctx.scale)
        grad_a = (back.t() @ flat).float()
        grad_b = (grad.t() @ low).float().mul_(ctx.scale)
        grad_x = None
        if ctx.needs_input_grad[0]:
            dense = weight if ctx.state is None else dequantize_4bit(weight, ctx.state)
            grad_x = (grad @ dense).addmm_(back, a).view(ctx.shape).to(ctx.dtype)
        return grad_x, None, None, grad_a, grad_b, None


def _forward(layer: LoraLayer, x: torch.Tensor) -> torch.Tensor:
    if layer.disable_adapters:
        return layer.base_layer(x)
    (name,) = layer.active_adapters
    base = layer.base_layer
    state = base.weight.quant_state if isinstance(base, Linear4bit) else None
    return FusedLora.apply(
        x, base.weight, state, layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
    )


def fuse_lora(model: PeftModel) -> int:
    """Let the adapted projections of `model` compute in one function; return how many do.

    Left as they are: adapters with dropout where they train, and projections with a bias, which would need more than
    these sums.
    """
    fused = 0
    for layer in model.modules():
        if isinstance(layer, LoraLayer) and isinstance(layer.base_layer, torch.nn.Linear):
            (name,) = layer.active_adapters
            idle = not layer.training or isinstance(layer.lora_dropout[name], torch.nn.Identity)
            if idle and layer.base_layer.bias is None:
                layer.forward = MethodType(_forward, layer)
                fused += 1
    return fused
