"""Matrix products in 8-bit floating point (e4m3): a scale for each row of the input and for each output channel.

A code has 3 bits of mantissa: it is off by at most a sixteenth of its value, by a fortieth on the average, and the sums
over a row's codes are exact to 14 bits or more. What codes hold is `codes × scale`; a product is scaled back in the
kernel, and comes in bfloat16. On a CPU the same codes are computed, slowly, so that tests can compare.
"""

from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from workflow_scripts.core.command import Refused

E4M3 = torch.float8_e4m3fn
LARGEST = 448.0
"""The largest number of e4m3; the smallest normal one is 2⁻⁶."""

LARGEST_OF_WEIGHTS = LARGEST / 256
"""Code of the largest weight of a channel: the columns of an adapter, whose values are larger, share its scale."""

SMALLEST_SCALE = 1e-12
"""Of rows of zeros, which have no largest value."""


class Float8(NamedTuple):
    """Codes (…, width) in e4m3, and the scale of each row, float32 (rows, 1)."""

    codes: torch.Tensor
    scales: torch.Tensor


def quantise_rows(x: torch.Tensor, extra: int = 0) -> Float8:
    """`x` (…, width) with a scale for each row, which maps its largest value to the largest code.

    Args:
        extra: columns that are left after those of x, with anything in them.
    """
    if x.is_cuda:
        from workflow_scripts.models.fused.float8_kernels import quantise_rows_on_gpu

        return quantise_rows_on_gpu(x, extra)
    flat = x.reshape(-1, x.shape[-1]).float()
    scales = (flat.abs().amax(1, keepdim=True) / LARGEST).clamp(min=SMALLEST_SCALE)
    codes = torch.zeros(*x.shape[:-1], x.shape[-1] + extra, dtype=E4M3, device=x.device)
    codes[..., : x.shape[-1]] = (flat * (1 / scales)).to(E4M3).view(x.shape)
    return Float8(codes, scales)


def quantise_weight(weight: torch.Tensor, largest: float = LARGEST) -> Float8:
    """A weight (out, in) with a scale for each output channel, (out, 1).

    Args:
        largest: the code of a channel's largest value. Precision does not depend on it while codes stay normal, so that
            a small one leaves codes for columns of larger values that share the scale.
    """
    scales = (weight.abs().amax(1, keepdim=True).float() / largest).clamp(min=SMALLEST_SCALE)
    codes = torch.empty(weight.shape, dtype=E4M3, device=weight.device)
    for part, target, scale in zip(weight.split(4096), codes.split(4096), scales.split(4096), strict=True):
        target.copy_(part.float() * (1 / scale))
    return Float8(codes, scales)


def scaled_product(x: Float8, weight: Float8, bias: torch.Tensor | None = None) -> torch.Tensor:
    """`x Wᵀ`, and the bias (out), in bfloat16, (…, out), of codes (…, in) and (out, in)."""
    flat = x.codes.view(-1, x.codes.shape[-1])
    if flat.is_cuda:
        out = torch._scaled_mm(
            flat,
            weight.codes.t(),
            scale_a=x.scales,
            scale_b=weight.scales.t(),
            bias=bias,
            out_dtype=torch.bfloat16,
            use_fast_accum=True,
        )
    else:
        exact = flat.float() @ weight.codes.float().t() * x.scales * weight.scales.t()
        out = (exact if bias is None else exact + bias.float()).to(torch.bfloat16)
    return out.view(*x.codes.shape[:-1], -1)


class Float8Linear(torch.nn.Linear):
    """A `Linear` without bias whose weight is held in codes alone.

    `weight` keeps its shape, dtype and device, as code around it expects, but holds one number, NaN, and no memory.

    Args:
        linear: without bias; its weight is given up.
        largest: as in `quantise_weight`.
    """

    def __init__(self, linear: torch.nn.Linear, largest: float = LARGEST) -> None:
        weight = linear.weight.detach()
        super().__init__(linear.in_features, linear.out_features, bias=False, device="meta")
        self.float8 = quantise_weight(weight, largest)
        nothing = torch.full((1, 1), float("nan"), dtype=weight.dtype, device=weight.device)
        self.weight = torch.nn.Parameter(nothing.expand(weight.shape), requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x Wᵀ` of (…, in), in the dtype of x."""
        return scaled_product(quantise_rows(x), self.float8).to(x.dtype)

    def __deepcopy__(self, memo: dict) -> "Float8Linear":
        """Adapters copy a layer that they trained as a whole.

        Raises:
            Refused: always; there are no weights to be replaced.
        """
        raise Refused(
            "the adapter replaces a whole weight of the language model, which is held in 8 bits: set `fp8: false`"
        )


def hold_in_float8(model: PreTrainedModel) -> int:
    """Hold the projections of the language model's layers in codes alone; return how many they are.

    Raises:
        Refused: one has a bias, or is not a plain `Linear`.
    """
    layers = model.get_decoder().layers
    projections = {name: module for name, module in layers.named_modules() if isinstance(module, torch.nn.Linear)}
    for name, module in projections.items():
        if type(module) is not torch.nn.Linear or module.bias is not None:
            kind = type(module).__name__ if type(module) is not torch.nn.Linear else "a Linear with a bias"
            raise Refused(f"layer {name} is {kind}, which is not computed in 8 bits: set `fp8: false`")
    while projections:
        name, module = projections.popitem()
        parent, _, own = name.rpartition(".")
        setattr(layers.get_submodule(parent), own, Float8Linear(module, LARGEST_OF_WEIGHTS))
    return sum(isinstance(module, Float8Linear) for module in layers.modules())
