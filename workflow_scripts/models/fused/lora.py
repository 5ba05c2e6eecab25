"""Frozen, possibly 4-bit, projections with LoRA as single autograd functions: the same sums with fewer passes.

PEFT computes `base(x) + scale · B(A(x))` as separate layers, and each of the seven projections of a layer then
reads and writes its full output three times more. Here the low-rank product is added inside the matrix product
(`addmm`), projections of one input share the product with A and the sum of its gradients, and the base weight is
dequantised once in each direction. Parameters stay PEFT's own: saving, loading and merging are untouched.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from bitsandbytes.functional import dequantize_4bit, dequantize_blockwise
from bitsandbytes.nn import Linear4bit
from peft import PeftModel
from peft.tuners.lora import LoraLayer


class Frozen(NamedTuple):
    """The frozen weight (out, in) of a projection, its quantisation, and the scale of the low-rank product beside."""

    weight: torch.Tensor
    state: Any  # of bitsandbytes; None for a weight that is not quantised
    scale: float

    def dense(self) -> torch.Tensor:
        return self.weight if self.state is None else dequantize_4bit(self.weight, self.state)


class Group:
    """Adapted projections of one input, and their A and B in the dtype that they are computed in."""

    def __init__(self, *layers: LoraLayer) -> None:
        self.frozen = [frozen_of(layer) for layer in layers]
        self.low = [each for layer in layers for each in low_rank_of(layer)]
        weight, state, _ = self.frozen[0]
        self.dtype = weight.dtype if state is None else state.dtype

    def downs(self) -> torch.Tensor:
        """Every A, one below the other: (sum of r, in)."""
        return torch.cat([a.detach().to(self.dtype) for a in self.low[::2]])

    def ups(self) -> list[torch.Tensor]:
        """Every B (out, r)."""
        return [b.detach().to(self.dtype) for b in self.low[1::2]]

    def flattened(self, x: torch.Tensor) -> torch.Tensor:
        """An input as (tokens, in)."""
        return x.reshape(-1, x.shape[-1]).to(self.dtype)

    def forward(self, flat: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Outputs (tokens, out) of each projection, and the input (tokens, in) times every A."""
        narrow = flat @ self.downs().t()
        outputs, start = [], 0
        for part, b in zip(self.frozen, self.ups(), strict=True):
            own = narrow[:, start : start + b.shape[1]]
            outputs.append((flat @ part.dense().t()).addmm_(own, b.t(), alpha=part.scale))
            start += b.shape[1]
        return outputs, narrow

    def backward(
        self, grads: Sequence[torch.Tensor], flat: torch.Tensor, narrow: torch.Tensor, needs_input: bool
    ) -> tuple[torch.Tensor | None, list[torch.Tensor]]:
        """The gradient of the input (tokens, in), or None, and those of every A and B in their order."""
        joined, of_b = self.narrow_gradients(grads, narrow)
        grad_x = self.input_gradient(grads, joined) if needs_input else None
        return grad_x, self.low_gradients(joined, flat, of_b)

    def narrow_gradients(
        self, grads: Sequence[torch.Tensor], narrow: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The gradient of the input times every A, and those of every B."""
        back, of_b, start = [], [], 0
        for grad, part, b in zip(grads, self.frozen, self.ups(), strict=True):
            own = narrow[:, start : start + b.shape[1]]
            # With beta 0 what is added is not read: the scale costs no pass.
            back.append(torch.addmm(own, grad, b, beta=0, alpha=part.scale))
            of_b.append(torch.addmm(b, grad.t(), own, beta=0, alpha=part.scale))
            start += b.shape[1]
        return back[0] if len(back) == 1 else torch.cat(back, 1), of_b

    def input_gradient(self, grads: Sequence[torch.Tensor], joined: torch.Tensor) -> torch.Tensor:
        """The gradient of the input (tokens, in)."""
        grad_x = grads[0] @ self.frozen[0].dense()
        for grad, part in zip(grads[1:], self.frozen[1:], strict=True):
            grad_x.addmm_(grad, part.dense())
        return grad_x.addmm_(joined, self.downs())

    def low_gradients(
        self, joined: torch.Tensor, flat: torch.Tensor, of_b: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """The gradients of every A and B in their order, in their dtype."""
        of_a = (joined.t() @ flat).to(self.low[0].dtype).split([a.shape[0] for a in self.low[::2]])
        dtype = self.low[0].dtype
        return [each for a, b in zip(of_a, of_b, strict=True) for each in (a, b.to(dtype))]


def frozen_of(layer: LoraLayer) -> Frozen:
    """The frozen weight of a projection with one adapter; the scales of its blocks are no longer quantised."""
    (name,) = layer.active_adapters
    base = layer.base_layer
    if not isinstance(base, Linear4bit):
        return Frozen(base.weight, None, layer.scaling[name])
    state = base.weight.quant_state
    if state.nested:  # the scales of its blocks are quantised too: at .06 bytes a weight, not worth two kernels a use
        state.absmax = (dequantize_blockwise(state.absmax, state.state2) + state.offset).float()
        state.nested, state.state2, state.offset = False, None, None
    return Frozen(base.weight, state, layer.scaling[name])


def low_rank_of(layer: LoraLayer) -> tuple[torch.Tensor, torch.Tensor]:
    """A (r, in) and B (out, r) of a projection with one adapter."""
    (name,) = layer.active_adapters
    return layer.lora_A[name].weight, layer.lora_B[name].weight


class Projections(torch.autograd.Function):
    """Projections of one input x (…, in): `x Wᵀ + scale · (x Aᵀ) Bᵀ` each, with gradients for x, every A and B."""

    @staticmethod
    def forward(ctx, x, group, *low):
        flat = group.flattened(x)
        outputs, narrow = group.forward(flat)
        ctx.save_for_backward(flat, narrow)
        ctx.group, ctx.shape, ctx.dtype = group, x.shape, x.dtype
        return tuple(y.view(*x.shape[:-1], y.shape[-1]) for y in outputs)

    @staticmethod
    def backward(ctx, *grads):
        flat, narrow = ctx.saved_tensors
        flat_grads = [grad.reshape(-1, grad.shape[-1]).to(flat.dtype) for grad in grads]
        grad_x, of_low = ctx.group.backward(flat_grads, flat, narrow, ctx.needs_input_grad[0])
        return None if grad_x is None else grad_x.view(ctx.shape).to(ctx.dtype), None, *of_low


def _forward(layer: LoraLayer, group: Group, x: torch.Tensor) -> torch.Tensor:
    if layer.disable_adapters:
        return layer.base_layer(x)
    (y,) = Projections.apply(x, group, *group.low)
    return y


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
                layer.forward = partial(_forward, layer, Group(layer))
                fused += 1
    return fused
