"""Projections of one input as one matrix product, a low-rank adapter inside it, for inference.

`x Wᵀ + scale · (x Aᵀ) Bᵀ` is the product of `[x, x Aᵀ]` with `[W, scale · B]`: an adapter widens the product by its
rank instead of adding to each output once more. The weights of the projections become views of the joint one, so that
a model needs no memory twice.
"""

import math

import torch
from peft.tuners.lora import LoraLayer

from workflow_scripts.core.command import Refused
from workflow_scripts.models.fused.float8 import E4M3, LARGEST, Float8, Float8Linear, quantise_rows, scaled_product

ALIGNED = 16
"""Columns are added in multiples of this: matrix products of other widths are slower."""

ALIGNED_CODES = 128
"""Inputs in codes are so many columns wide, or a multiple, with an adapter's: of others, products take half as long
again."""

FINER = 16.0
"""What is missing to a code is multiplied by this, so that its own code is a normal number."""


class JointProjection:
    """One or several projections without bias, of one input, and the adapters beside them.

    Args:
        layers: `Linear` layers, or PEFT's around them with one adapter.
    """

    def __init__(self, *layers: torch.nn.Module) -> None:
        linears = [_linear_of(layer) for layer in layers]
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


class JointFloat8Projection:
    """`JointProjection` of weights in codes, an adapter in codes of twice the precision.

    A code alone would leave 4 bits of an adapter. So A is two codes, x Aᵀ = t is, t ≈ t₁ + t₂, and scale · B is; the
    columns are [t₁, t₂, t₁] against [B₁, B₁, B₂]: t B, less what is 8 bits and more below it. The largest t that an
    input may have, ‖A‖ · ‖x‖, is a code too: nothing saturates.

    Args:
        layers: `Float8Linear` layers, or PEFT's around them with one adapter.

    Raises:
        Refused: the adapter's values do not fit into codes beside those of its base.
    """

    def __init__(self, *layers: torch.nn.Module) -> None:
        linears = [_linear_of(layer) for layer in layers]
        self.width = linears[0].in_features
        self.sizes = [linear.out_features for linear in linears]
        pairs = [_low_rank_of(layer) for layer in layers]
        rank = -(-sum(len(pair[0]) for pair in pairs if pair) // 8) * 8
        self.extra = -(-(self.width + 3 * rank) // ALIGNED_CODES) * ALIGNED_CODES - self.width if rank else 0
        device = linears[0].float8.codes.device
        scales = torch.cat([linear.float8.scales for linear in linears])
        codes = torch.zeros(sum(self.sizes), self.width + self.extra, dtype=E4M3, device=device)
        downs = torch.zeros(rank, self.width, device=device)
        start = first = 0
        for linear, size, pair in zip(linears, self.sizes, pairs, strict=True):
            own = slice(start, start + size)
            codes[own, : self.width] = linear.float8.codes
            linear.float8 = Float8(codes[own, : self.width], scales[own])
            if pair:
                down, up = pair
                factor = _power_of_2(down.float().norm(dim=1) * math.sqrt(self.width))
                downs[first : first + len(down)] = down.float() / factor[:, None]
                columns = up.float() * factor / scales[own]
                if columns.abs().max() > LARGEST:
                    raise Refused(
                        "the adapter is too large beside its base's weights for products in 8 bits: set `fp8: false`"
                    )
                coarse, fine = columns.to(E4M3), (columns - columns.to(E4M3).float()).to(E4M3)
                for number, part in enumerate((coarse, (coarse.float() / FINER).to(E4M3), fine)):
                    place = self.width + number * rank + first
                    codes[own, place : place + len(down)] = part
                first += len(down)
            start += size
        self.weight = Float8(codes, scales)
        if rank:
            self._down_scale = _power_of_2(downs.abs().max() / LARGEST)
            coarse = (downs / self._down_scale).to(E4M3)
            self._downs = torch.cat([coarse, ((downs / self._down_scale - coarse.float()) * FINER).to(E4M3)])
            self._one = torch.ones_like(self._down_scale)

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """All outputs side by side, (…, sum of sizes), of x (…, width) in the model's dtype."""
        return self.in_place(quantise_rows(x, self.extra))

    def in_place(self, x: Float8) -> torch.Tensor:
        """All outputs side by side, (…, sum of sizes); of x, (…, width + extra), those columns are written over."""
        if self.extra:
            self._write_columns(x.codes.view(-1, x.codes.shape[-1]))
        return scaled_product(x, self.weight)

    def _write_columns(self, codes: torch.Tensor) -> None:
        """Write [t₁, t₂, t₁], then zeros, into the last columns of codes (rows, width + extra)."""
        known = codes[:, : self.width]
        if codes.is_cuda:
            from workflow_scripts.models.fused.float8_kernels import write_low_rank_columns

            narrow = torch._scaled_mm(
                known,
                self._downs.t(),
                scale_a=self._one,
                scale_b=self._down_scale,
                out_dtype=torch.bfloat16,
                use_fast_accum=True,
            )
            write_low_rank_columns(narrow, codes, self.width, FINER)
            return
        both = (known.float() @ self._downs.float().t() * self._down_scale).unflatten(1, (2, -1))
        whole = both[:, 0] + both[:, 1] / FINER
        coarse = whole.to(E4M3)
        fine = ((whole - coarse.float()) * FINER).to(E4M3)
        rest = codes.new_zeros(len(codes), self.extra - 3 * whole.shape[1])
        codes[:, self.width :] = torch.cat([coarse, fine, coarse, rest], 1)


def _power_of_2(values: torch.Tensor) -> torch.Tensor:
    """The next power of 2, by which nothing is rounded."""
    return torch.exp2(torch.log2(values.clamp(min=1e-30)).ceil())


def can_be_joined(*layers: torch.nn.Module) -> bool:
    """Whether projections are plain ones: of weights that are not quantised to 4 bits, and without bias."""
    linears = [_linear_of(layer) for layer in layers]
    kinds = {type(linear) for linear in linears}
    return kinds in ({torch.nn.Linear}, {Float8Linear}) and all(linear.bias is None for linear in linears)


def in_float8(layer: torch.nn.Module) -> bool:
    """Whether a projection, adapted or not, holds codes."""
    return isinstance(_linear_of(layer), Float8Linear)


def _linear_of(layer: torch.nn.Module) -> torch.nn.Module:
    return layer.base_layer if isinstance(layer, LoraLayer) else layer


def _low_rank_of(layer: torch.nn.Module) -> tuple[torch.Tensor, torch.Tensor] | None:
    """A (rank, in) and scale · B (out, rank) of a layer's adapter; None where it has none."""
    if not isinstance(layer, LoraLayer):
        return None
    (name,) = layer.active_adapters
    return layer.lora_A[name].weight.detach(), layer.lora_B[name].weight.detach() * layer.scaling[name]
