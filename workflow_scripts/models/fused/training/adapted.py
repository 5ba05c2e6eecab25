"""Adapted projections of one input as one matrix product in each direction, the low-rank sums inside it.

`x Wᵀ + s (x Aᵀ) Bᵀ` is the product of `[x, x Aᵀ]` with `[W, s B]`, and the gradient of x that of `[g, s g B]` with
`[W; A]`. Both are parts of one matrix,

    W  s B
    A   0

read by its upper rows forward and by its left columns backward. Of several projections W and A lie one below the other,
and B on the diagonal. Around the gated unit the frozen products come apart, as its passes add the sums. A weight of 4
bits is dequantised to the matrix at each use, one matrix for all layers.
"""

from collections.abc import Sequence

import torch
from peft.tuners.lora import LoraLayer

from workflow_scripts.models.fused.lora import frozen_of, low_rank_of
from workflow_scripts.models.fused.training.gated import aligned_empty
from workflow_scripts.models.fused.training.nf4 import dequantise_into

ALIGNED = 16
"""Columns and rows are added in multiples of this: products of other widths are slower."""

Matrices = dict[tuple[int, int], torch.Tensor]
"""By their shape: what weights of 4 bits are dequantised to."""


def widened(x: torch.Tensor, extra: int) -> torch.Tensor:
    """`x` (…, width) as (rows, width + extra), where it lies if columns for that are beside it already, else copied."""
    width = x.shape[-1]
    rows, step = x.numel() // width, width + extra
    lies_so = x.stride(-1) == 1 and all(
        stride == step * inner for stride, inner in zip(x.stride()[:-1], _inner_sizes(x.shape[:-1]), strict=True)
    )
    if lies_so and x.untyped_storage().nbytes() >= (x.storage_offset() + rows * step) * x.element_size():
        return x.as_strided((rows, step), (step, 1))
    wide = x.new_empty(rows, step)
    wide[:, :width].unflatten(0, x.shape[:-1]).copy_(x)
    return wide


def _inner_sizes(shape: Sequence[int]) -> list[int]:
    """For each dimension, how many there are of all later ones together."""
    sizes = [1]
    for size in reversed(shape[1:]):
        sizes.insert(0, sizes[0] * size)
    return sizes


class AdaptedGroup:
    """Projections without bias of one input, each with one adapter.

    `columns` is how many it needs beside its input, and beside the gradient of its outputs.

    Args:
        layers: PEFT's layers around `Linear` ones.
        matrices: shared by all groups of a model.
    """

    def __init__(self, *layers: LoraLayer, matrices: Matrices) -> None:
        self.frozen = [frozen_of(layer) for layer in layers]
        self.low = [each for layer in layers for each in low_rank_of(layer)]
        self.sizes = [len(b) for b in self.low[1::2]]
        self.ranks = [len(a) for a in self.low[::2]]
        self.out, self.width = sum(self.sizes), self.low[0].shape[1]
        self.extra = -(-sum(self.ranks) // ALIGNED) * ALIGNED
        self.columns = self.extra
        weight, state, _ = self.frozen[0]
        self.dtype = weight.dtype if state is None else state.dtype
        device = self.low[0].device
        self._prepare(matrices, device)
        first_row = first_column = 0
        self._blocks = []
        for size, rank in zip(self.sizes, self.ranks, strict=True):
            self._blocks.append((slice(first_row, first_row + size), slice(first_column, first_column + rank)))
            first_row, first_column = first_row + size, first_column + rank

    def _prepare(self, matrices: Matrices, device: torch.device) -> None:
        """Set up the matrix, and for A (extra, in) and scaled B (out, extra), which are zeros beyond the ranks."""
        shape = self.out + self.extra, self.width + self.extra
        self._lasting = all(part.state is None for part in self.frozen)
        if not self._lasting:
            if shape not in matrices:
                matrices[shape] = torch.zeros(shape, dtype=self.dtype, device=device)
            self._matrix = matrices[shape]
            self.downs = torch.zeros(self.extra, self.width, dtype=self.dtype, device=device)
            self.ups = torch.zeros(self.out, self.extra, dtype=self.dtype, device=device)
            return
        self._matrix = torch.zeros(shape, dtype=self.dtype, device=device)
        start = 0
        for part, size in zip(self.frozen, self.sizes, strict=True):
            own = self._matrix[start : start + size, : self.width]
            own.copy_(part.weight)
            part.weight.data = own
            start += size
        self.downs, self.ups = self._matrix[self.out :, : self.width], self._matrix[: self.out, self.width :]

    def refresh(self) -> None:
        """Bring the copies of A and of scaled B up to date."""
        with torch.no_grad():
            for (rows, columns), part, a, b in zip(
                self._blocks, self.frozen, self.low[::2], self.low[1::2], strict=True
            ):
                self.downs[columns].copy_(a)
                torch.mul(b, part.scale, out=self.ups[rows, columns])

    def forward(
        self, x: torch.Tensor, narrow: torch.Tensor | None = None, *, wide: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """All outputs side by side, (rows, out), and x Aᵀ (rows, extra).

        Args:
            x: (rows, in + columns), whose last ones are written over.
            narrow: x Aᵀ, where it is known.
            wide: leave columns beside the outputs, with anything in them: (rows, out + columns).
        """
        beside = x[:, self.width :]
        if narrow is None:
            narrow = torch.mm(x[:, : self.width], self.downs.t(), out=beside)
        else:
            beside.copy_(narrow)
        outputs = aligned_empty(x, len(x), self.out + (self.columns if wide else 0))
        torch.mm(x, self._dequantised()[: self.out].t(), out=outputs[:, : self.out])
        return outputs, narrow

    def forward_apart(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The frozen products side by side, (rows, out), and x Aᵀ (rows, extra): s (x Aᵀ) Bᵀ is to be added.

        Args:
            x: (rows, in).
        """
        outputs = aligned_empty(x, len(x), self.out + self.columns)
        torch.mm(x, self._dequantised()[: self.out, : self.width].t(), out=outputs[:, : self.out])
        return outputs, x @ self.downs.t()

    def input_gradient(self, grad: torch.Tensor, back: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient of x, (rows, in), of that of the outputs, and s g B (rows, extra).

        Args:
            grad: (rows, out + columns), whose last ones are written over.
            back: s g B, where it is known.
        """
        beside = grad[:, self.out :]
        if back is None:
            back = torch.mm(grad[:, : self.out], self.ups, out=beside)
        else:
            beside.copy_(back)
        matrix = self._dequantised()[:, : self.width]
        if not self._lasting:
            matrix[self.out :].copy_(self.downs)
        return grad @ matrix, back

    def input_gradient_apart(self, grad: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient of x through the frozen products, and s g B (rows, extra), of which s g B A is to be added.

        Args:
            grad: of the outputs, (rows, out).
        """
        return grad @ self._dequantised()[: self.out, : self.width], grad @ self.ups

    def low_gradients(
        self, grad: torch.Tensor, back: torch.Tensor, x: torch.Tensor, narrow: torch.Tensor
    ) -> list[torch.Tensor]:
        """The gradients of every A and B in their order, in their dtype.

        Args:
            grad: of the outputs, (rows, at least out).
            back: s g B, (rows, extra).
            x: (rows, at least in).
            narrow: x Aᵀ, (rows, extra).
        """
        of_b = grad[:, : self.out].t() @ narrow
        blocks = [of_b[rows, columns] for rows, columns in self._blocks]
        return self.in_order(back.t() @ x[:, : self.width], blocks)

    def in_order(self, of_a: torch.Tensor, of_b: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The gradients of every A and B in their order, in their dtype.

        Args:
            of_a: of every A, (extra, in).
            of_b: of the scaled B of each projection, (size, rank).
        """
        dtype, gradients = self.low[0].dtype, []
        for (_, columns), part, b in zip(self._blocks, self.frozen, of_b, strict=True):
            own = b.to(dtype)
            gradients += [of_a[columns].to(dtype), own if part.scale == 1 else own * part.scale]
        return gradients

    def _dequantised(self) -> torch.Tensor:
        """The matrix without its last rows; a weight of 4 bits leaves nothing in it between its uses."""
        start, matrix = 0, self._matrix
        if self._lasting:
            return matrix
        for part, size in zip(self.frozen, self.sizes, strict=True):
            target, beside = matrix[start : start + size], self.ups[start : start + size]
            if part.state is None:
                target[:, : self.width].copy_(part.weight)
                target[:, self.width :].copy_(beside)
            else:
                dequantise_into(target, part.weight, part.state, beside)
            start += size
        return matrix
