"""SigLIP's tower with fewer passes over memory, for features on a GPU: the sums are the model's own.

Queries, keys and values are one product; attention is `attention.attend`; GELU is part of the product before it; sum
and norm are one pass. Pixels come as levels 0 to 255, a quarter of the bytes, and are looked up in a table of what the
family's preparation makes of each level. In 8 bits, products are of codes with a scale for each patch and each output
channel (`fused.float8`); sums, norms, attention and the patches' projection stay in bfloat16.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch.nn import LayerNorm, Linear
from torch.nn.functional import gelu, pad
from transformers import SiglipVisionModel
from transformers.modeling_outputs import BaseModelOutputWithPooling

from workflow_scripts.models.fused.float8 import Float8, quantise_rows, quantise_weight, scaled_product
from workflow_scripts.models.fused.vision.attention import TILE, attend, joined, parts_of
from workflow_scripts.models.fused.vision.passes import add_layer_norm, gelu_in_codes, layer_norm, patches_of

ALIGNED = 8
"""Values that a row of a matrix has a multiple of: 16 bytes."""

CODES = 16
"""The same of 8-bit codes."""

TILE_WIDTH = 256
"""Columns of the largest tiles that products are computed in: hidden layers are padded to a multiple."""


def unfit(tower: torch.nn.Module, *, fp8: bool = False) -> str | None:
    """Why a vision tower is not computed in few passes, with products of 8-bit codes or without; None where it is."""
    if type(tower) is not SiglipVisionModel:
        return f"the tower is a {type(tower).__name__}, not a SiglipVisionModel"
    config = tower.config
    head, odd = divmod(config.hidden_size, config.num_attention_heads)
    if odd or head % ALIGNED or not 16 <= head < 128:
        return f"its heads are {config.hidden_size} / {config.num_attention_heads} wide, no multiple of 8 in 16 to 120"
    if fp8 and config.hidden_size % CODES:
        return f"its states are {config.hidden_size} wide, and 8-bit products need a multiple of {CODES}"
    if tower.embeddings.num_patches % TILE:
        return f"an image has {tower.embeddings.num_patches} patches, no multiple of {TILE}"
    if config.hidden_act != "gelu_pytorch_tanh":
        return f"its activation is {config.hidden_act}, not gelu_pytorch_tanh"
    if tower.dtype != torch.bfloat16:
        return f"it computes in {str(tower.dtype).removeprefix('torch.')}, not in bfloat16"
    capability = torch.cuda.get_device_capability(tower.device) if tower.device.type == "cuda" else (0, 0)
    return None if capability[0] == 9 else "its attention is for Hopper GPUs (H100, H200)"


class _Product(NamedTuple):
    """`x Wᵀ + b`."""

    weight: torch.Tensor | Float8
    bias: torch.Tensor

    def __call__(self, x: torch.Tensor | Float8) -> torch.Tensor:
        if isinstance(self.weight, Float8):
            return scaled_product(x if isinstance(x, Float8) else quantise_rows(x), self.weight, self.bias)
        return torch.addmm(self.bias, x, self.weight.t())

    def gelu(self, x: torch.Tensor | Float8) -> torch.Tensor | Float8:
        """GELU of it, by tanh; in codes where the weight is."""
        if isinstance(self.weight, Float8) or isinstance(x, Float8):
            return gelu_in_codes(self(x))
        if x.is_cuda:
            return torch._addmm_activation(self.bias, x, self.weight.t(), use_gelu=True)
        return gelu(self(x), approximate="tanh")  # on a CPU, the function above takes the error function


class _Layer(NamedTuple):
    """The products of a layer, and its norm in the middle."""

    joint: _Product
    output: _Product
    norm: LayerNorm
    inner: _Product
    outer: _Product


class SiglipTower(torch.nn.Module):
    """In the place of a `SiglipVisionModel`; the patches after the last norm are all that it gives.

    Args:
        tower: see `unfit`.
        values: what a level of each channel stands for, (channels, 256).
        fp8: whether products are of 8-bit codes.
    """

    takes_levels = True
    """What it is given in the place of pixels."""

    def __init__(self, tower: SiglipVisionModel, values: torch.Tensor, *, fp8: bool = False) -> None:
        super().__init__()
        self._heads, self._fp8 = tower.config.num_attention_heads, fp8
        self._parts = parts_of(tower.config.hidden_size // self._heads)
        projection = tower.embeddings.patch_embedding
        weight = projection.weight.detach().flatten(1)
        weight = pad(weight, (0, -weight.shape[1] % ALIGNED))
        self._side, self._columns = tower.config.patch_size, weight.shape[1]
        self._patches = _Product(weight, projection.bias.detach())
        self._positions = tower.embeddings.position_embedding.weight.detach()
        self._values = values.to(weight)
        self._norms = [layer.layer_norm1 for layer in tower.encoder.layers] + [tower.post_layernorm]
        product: Callable[[torch.Tensor, torch.Tensor], _Product] = (
            (lambda weight, bias: _Product(quantise_weight(weight), bias)) if fp8 else _Product
        )
        self._risen, self._running = torch.zeros(1, dtype=torch.int32, device=weight.device), False
        self._layers = [self._layer(layer, product) for layer in tower.encoder.layers]

    @torch.inference_mode()
    def forward(self, pixel_values: torch.Tensor, return_dict: bool = True) -> BaseModelOutputWithPooling:
        """Of levels (images, height, width, channels), uint8: `last_hidden_state` (images, patches, width).

        It is of no use where `risen` then says so.
        """
        images = len(pixel_values)
        self._risen = torch.zeros_like(self._risen)
        x = self._patches(patches_of(pixel_values, self._values, self._side, self._columns))
        if len(x) != images * len(self._positions):
            raise ValueError(f"an image has {len(x) // images} patches; the tower has {len(self._positions)} positions")
        total, normed = add_layer_norm(self._positions, x, self._norms[0], codes=self._fp8)
        shift = torch.zeros_like(self._norms[0].weight, dtype=torch.float32)
        for layer, following in zip(self._layers, self._norms[1:], strict=True):
            product = layer.joint(normed)
            heads = attend(product, images, self._heads, self._parts, self._risen, running=self._running)
            total, shift, normed = self._added(total, shift, layer.output, heads, layer.norm)
            total, shift, normed = self._added(total, shift, layer.outer, layer.inner.gelu(normed), following)
        assert isinstance(normed, torch.Tensor)
        return BaseModelOutputWithPooling(last_hidden_state=normed.view(images, -1, normed.shape[-1]))

    @property
    def risen(self) -> torch.Tensor | None:
        """1 where what was computed last is of no use, since scores rose too far or are not finite, else 0.

        None where the greatest score is kept: only what is not finite is left then, and stays so.
        """
        return None if self._running else self._risen

    def keep_greatest(self) -> None:
        """From here on, keep the greatest score so far: nothing rises."""
        self._running = True

    def _added(
        self, total: torch.Tensor, shift: torch.Tensor, product: _Product, x: torch.Tensor | Float8, norm: LayerNorm
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | Float8]:
        """The sum of layers so far and a product, and its norm: the sum is `total + shift`.

        In bfloat16 the product adds to the total as it is written, and its bias to the shift, in float32.
        """
        if isinstance(product.weight, Float8):
            total, normed = add_layer_norm(total, product(x), norm, codes=norm is not self._norms[-1])
            return total, shift, normed
        total.addmm_(x, product.weight.t())
        shift = shift + product.bias
        return total, shift, layer_norm(total, shift, norm)

    def _layer(self, layer: torch.nn.Module, product: Callable[[torch.Tensor, torch.Tensor], _Product]) -> _Layer:
        attention, mlp = layer.self_attn, layer.mlp
        weight, bias = self._joint(attention.q_proj, attention.k_proj, attention.v_proj)
        absent = -mlp.fc1.out_features % TILE_WIDTH  # of zeros, whose GELU is zero: 4,304 would leave tiles half empty
        return _Layer(
            product(weight, bias),
            product(attention.out_proj.weight.detach(), attention.out_proj.bias.detach()),
            layer.layer_norm2,
            product(pad(mlp.fc1.weight.detach(), (0, 0, 0, absent)), pad(mlp.fc1.bias.detach(), (0, absent))),
            product(pad(mlp.fc2.weight.detach(), (0, absent)), mlp.fc2.bias.detach()),
        )

    def _joint(self, query: Linear, key: Linear, value: Linear) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight and bias of queries, keys and values in the order of columns that `attend` wants."""
        weights = joined(query.weight.detach(), key.weight.detach(), value.weight.detach(), self._parts, one=0)
        return weights, joined(query.bias.detach(), key.bias.detach(), value.bias.detach(), self._parts, one=1)
