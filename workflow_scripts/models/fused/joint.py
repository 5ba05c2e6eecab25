"""Projections of one input as one matrix product, a low-rank adapter inside it, for inference.

`x Wᵀ + scale · (x Aᵀ) Bᵀ` is the product of `[x, x Aᵀ]` with `[W, scale · B]`: an adapter widens the product by its
rank instead of adding to each output once more. The weights of the projections become views of the joint one, so that
a model needs no memory twice.
"""

import torch
from peft.tuners.lora import LoraLayer

ALIGNED = 16
"""Columns are added in multiples of this: matrix products of other widths are slower."""


class JointProjection:
    """One or several projections without bias, of one input, and the adapters beside them.

    Args:
        layers: `Linear` layers, or PEFT's around them with one adapter.
    """

    def __init__(self, *layers: torch.nn.Module) -> None:
        linears = [layer.base_layer if isinstance(layer, LoraLayer) else layer for layer in layers]
        self.width = linears[0].weight.shape[1]
        self.sizes = [len(linear.weight) for linear in linears]
        pairs = [_low_rank_of(layer) for layer in layers]
        rank = sum(len(pair[0]) for pair in pairs if pair)
        self.extra = -(-rank // ALIGNED) * ALIGNED
        self.weight = linears[0].weight.new_zeros(sum(self.sizes), self.width + self.extra)
        self.downs = self.weight.new_zeros(self.extra, self.width)
        start = first = 0
        for linear, size, pair in zip(linears, self.sizes, pairs, strict=True):
            own = self.weight[start : start + size]
            own[:, : self.width] = linear.weight
            linear.weight.data = own[:, : self.width]
            if pair:
                down, up = pair
                own[:, self.width + first : self.width + first + len(down)] = up
                self.downs[first : first + len(down)] = down
                first += len(down)
            start += size

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """All outputs side by side, (…, sum of sizes), of x (…, width)."""
        if self.extra:
            x = torch.cat([x, torch.nn.functional.linear(x, self.downs)], -1)
        return torch.nn.functional.linear(x, self.weight)

    def in_place(self, x: torch.Tensor) -> torch.Tensor:
        """As a call of `x[…, :width]`; x is (…, at least width + extra), and those columns are written over."""
        flat = x.view(-1, x.shape[-1])
        if self.extra:
            beside = flat[:, self.width : self.width + self.extra]
            torch.mm(flat[:, : self.width], self.downs.t(), out=beside)
        out = flat[:, : self.width + self.extra] @ self.weight.t()
        return out.view(*x.shape[:-1], -1)


def can_be_joined(*layers: torch.nn.Module) -> bool:
    """Whether projections are plain ones: of weights that are not quantised, and without bias."""
    linears = [layer.base_layer if isinstance(layer, LoraLayer) else layer for layer in layers]
    return all(type(linear) is torch.nn.Linear and linear.bias is None for linear in linears)


def _low_rank_of(layer: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A (rank, in) and scale · B (out, rank) of a layer's adapter; None where it has none."""
    if not isinstance(layer, LoraLayer):
        return None
    (name,) = layer.active_adapters
    return layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach() * layer.scaling[name]
