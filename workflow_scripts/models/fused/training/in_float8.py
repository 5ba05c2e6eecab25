"""Adapted projections whose frozen product is of 8-bit codes in both directions; the adapters stay as they are."""

import torch
from bitsandbytes.functional import dequantize_4bit

from workflow_scripts.models.fused.float8 import quantise_rows, quantise_weight, scaled_product
from workflow_scripts.models.fused.training.adapted import AdaptedGroup, Matrices


class Float8Group(AdaptedGroup):
    """As its base; the weights are held in codes twice, with a scale for each output and with one for each input.

    A product of codes takes one scale for each row of either side. Forward it sums over inputs, and a row of W is an
    output; backward it sums over outputs, so that a row is an input. Inputs and gradients have a scale for each token.
    """

    def _prepare(self, matrices: Matrices, device: torch.device) -> None:
        dense = [
            part.weight if part.state is None else dequantize_4bit(part.weight, part.state) for part in self.frozen
        ]
        weight = torch.cat([each.detach() for each in dense])
        self.upright, self.turned = quantise_weight(weight), quantise_weight(weight.t().contiguous())
        self.downs = torch.zeros(self.extra, self.width, dtype=self.dtype, device=device)
        self.ups = torch.zeros(self.out, self.extra, dtype=self.dtype, device=device)
        self.columns = 0

    def forward(
        self, x: torch.Tensor, narrow: torch.Tensor | None = None, *, wide: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        base = scaled_product(quantise_rows(x), self.upright)
        narrow = x @ self.downs.t() if narrow is None else narrow
        return base.addmm_(narrow, self.ups.t()), narrow

    def forward_apart(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return scaled_product(quantise_rows(x), self.upright), x @ self.downs.t()

    def input_gradient(self, grad: torch.Tensor, back: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        grad_x = scaled_product(quantise_rows(grad), self.turned)
        back = grad @ self.ups if back is None else back
        return grad_x.addmm_(back, self.downs), back

    def input_gradient_apart(self, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return scaled_product(quantise_rows(grad), self.turned), grad @ self.ups
