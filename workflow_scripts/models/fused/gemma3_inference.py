"""Gemma 3 layers with fewer passes over memory, for inference on a GPU: the sums are the model's own.

Beside the matrix products, a prompt's time goes into copies: heads are normed, transposed, rotated and transposed
again, one kernel each. Here queries and keys take one pass from the projection's layout to the attention's, residual
sums and norms one, and the gated unit one in place. Projections of one input are one product, adapters inside it.
Where weights are held in 8-bit codes, the pass before a product writes codes too.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from workflow_scripts.models.fused.float8 import Float8, quantise_rows
from workflow_scripts.models.fused.float8_kernels import add_norm_in_codes, gelu_gate_in_codes
from workflow_scripts.models.fused.heads import norm_rope
from workflow_scripts.models.fused.joint import JointFloat8Projection, JointProjection, can_be_joined, in_float8
from workflow_scripts.models.fused.norms import add_norm


@triton.jit
def _gelu_gate(both, width, BLOCK: tl.constexpr):
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = place < width
    gate = both + tl.program_id(0).to(tl.int64) * 2 * width + place
    x = tl.load(gate, inside).to(tl.float32)
    # x/2 · (1 + tanh z) = x · sigmoid(2 z)
    z = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    act = (x * tl.sigmoid(2 * z)).to(both.dtype.element_ty).to(tl.float32)
    tl.store(gate, act * tl.load(gate + width, inside).to(tl.float32), inside)


def gelu_gate_(both: torch.Tensor) -> torch.Tensor:
    """`gelu_tanh(gate) · up` of gate and up side by side, written over `gate`; contiguous, (…, 2 × width)."""
    width = both.shape[-1] // 2
    _gelu_gate[(both.numel() // both.shape[-1], triton.cdiv(width, 2048))](both, width, 2048, num_warps=4)
    return both


class _Passes(NamedTuple):
    """Projections, and the passes before them, whose results have the columns that adapters need beside."""

    joint: type[JointProjection] | type[JointFloat8Projection]
    given: Callable[[torch.Tensor, int], torch.Tensor | Float8]  # from what is normed already
    add_norm: Callable[..., tuple[torch.Tensor, Any]]
    gated: Callable[[torch.Tensor, int], torch.Tensor | Float8]


PLAIN = _Passes(
    JointProjection,
    lambda normed, extra: torch.nn.functional.pad(normed, (0, extra)),
    add_norm,
    lambda both, extra: gelu_gate_(both),
)
IN_FLOAT8 = _Passes(JointFloat8Projection, quantise_rows, add_norm_in_codes, gelu_gate_in_codes)


class _Attention:
    """`Gemma3Attention.forward` with one product for queries, keys and values, then a pass for norm and rotation.

    Its input is (rows, tokens, width and the columns that its adapters need beside).
    """

    def __init__(self, module: torch.nn.Module, passes: _Passes) -> None:
        self._module = module
        self.inputs = passes.joint(module.q_proj, module.k_proj, module.v_proj)
        self._output = passes.joint(module.o_proj)

    def __call__(self, x, position_embeddings, attention_mask=None, past_key_values=None, **kwargs):
        module, config = self._module, self._module.config
        joint = self.inputs.in_place(x)
        rows, tokens = joint.shape[:2]
        cos, sin = (part.expand(rows, -1, -1) for part in position_embeddings)
        eps, kv_heads = config.rms_norm_eps, config.num_key_value_heads
        query, key, value = joint.split(self.inputs.sizes, -1)
        # The kernels' output is laid out as the query is: so, heads need not be put together again.
        query = norm_rope(query, module.q_norm.weight, eps, cos, sin, config.num_attention_heads, turned=False)
        key = norm_rope(key, module.k_norm.weight, eps, cos, sin, kv_heads)
        value = value.unflatten(-1, (kv_heads, module.head_dim)).transpose(1, 2)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, module.layer_idx)
        out, _ = ALL_ATTENTION_FUNCTIONS[config._attn_implementation](
            *(module, query, key, value, attention_mask),
            dropout=0.0,
            scaling=module.scaling,
            sliding_window=module.sliding_window,
        )
        return self._output(out.reshape(rows, tokens, -1))


class _Layer:
    """`Gemma3DecoderLayer.forward`: sums and norms between its parts in one pass, up to the next layer's first norm."""

    def __init__(self, layer: torch.nn.Module, before: "_Layer | None") -> None:
        self._layer = layer
        self._passes = IN_FLOAT8 if in_float8(layer.mlp.down_proj) else PLAIN
        self._attention = _Attention(layer.self_attn, self._passes)
        self._inner = self._passes.joint(layer.mlp.gate_proj, layer.mlp.up_proj)
        self._down = self._passes.joint(layer.mlp.down_proj)
        self._given: tuple[torch.Tensor, torch.Tensor | Float8] | None = None
        self._next: _Layer | None = None
        self.ends = False  # the model
        if before is not None:
            before._next = self

    @property
    def _extra(self) -> int:
        return self._attention.inputs.extra

    def __call__(self, hidden_states, position_embeddings=None, attention_mask=None, **kwargs):
        layer, passes, eps = self._layer, self._passes, self._layer.config.rms_norm_eps
        given, self._given = self._given, None
        if given is not None and given[0] is hidden_states:
            normed = given[1]
        else:
            normed = passes.given(layer.input_layernorm(hidden_states), self._extra)
        cache = kwargs.get("past_key_values")
        out = self._attention(normed, position_embeddings, attention_mask, cache)
        if self.ends and getattr(cache, "last_token_alone", False):
            hidden_states, out = hidden_states[:, -1:], out[:, -1:].contiguous()
        total, normed = passes.add_norm(
            *(hidden_states.contiguous(), out),
            layer.post_attention_layernorm.weight,
            layer.pre_feedforward_layernorm.weight,
            eps,
            self._inner.extra,
        )
        out = self._down.in_place(passes.gated(self._inner.in_place(normed), self._down.extra))
        following, weight = self._next, layer.post_feedforward_layernorm.weight
        if following is None:
            return add_norm(total, out, weight, None, eps)[0]
        next_weight = following._layer.input_layernorm.weight
        total, normed = following._passes.add_norm(total, out, weight, next_weight, eps, following._extra)
        following._given = total, normed
        return total


def _image_places(model: PreTrainedModel, input_ids, inputs_embeds, image_features) -> torch.Tensor:
    """Where image tokens are, (rows, tokens, 1); the model's own counts them, and waits for the GPU to compare."""
    return (input_ids == model.config.image_token_id)[..., None]


def fuse_layers_for_inference(base: PreTrainedModel) -> int:
    """Give the language layers of a Gemma 3, adapted or not, these forwards; for inference alone.

    Whoever gives it image features and ids has seen that they are as many.

    Returns:
        How many layers have them: not those of weights in 4 bits, or with a bias.
    """
    before, fused = None, 0
    for layer in base.get_decoder().layers:
        attention, unit = layer.self_attn, layer.mlp
        projections = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        if can_be_joined(*projections, unit.gate_proj, unit.up_proj, unit.down_proj):
            before = layer.forward = _Layer(layer, before)
            fused += 1
        else:
            before = None
    if before is not None:
        before.ends = True
    with_images = base.base_model
    if hasattr(with_images, "get_placeholder_mask"):
        with_images.get_placeholder_mask = partial(_image_places, with_images)
    return fused
