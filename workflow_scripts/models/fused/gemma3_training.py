"""Gemma 3's decoder layers for training adapters on a GPU: the model's sums in fewer passes, and none that is not used.

Of the last layer only what stands at learned places reaches the loss: its output projection and its gated unit work on
those alone.
"""

from functools import partial
from typing import NamedTuple

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch.nn.functional import scaled_dot_product_attention

from workflow_scripts.models.fused.lora import Group, Projections, copy_adapters
from workflow_scripts.models.fused.norms import AddNorm, NormRope, gated, gated_back_


class GatedUnit(torch.autograd.Function):
    """`down(gelu_tanh(gate(x)) · up(x))` of adapted projections; the gated product is computed anew, not stored."""

    @staticmethod
    def forward(ctx, x, inner, down, *low):
        flat = inner.flattened(x)
        (gate, up), narrow = inner.forward(flat)
        (y,), narrow_down = down.forward(gated(gate, up))
        ctx.save_for_backward(flat, gate, up, narrow, narrow_down)
        ctx.inner, ctx.down, ctx.shape, ctx.dtype = inner, down, x.shape, x.dtype
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    def backward(ctx, grad):
        flat, gate, up, narrow, narrow_down = ctx.saved_tensors
        grads = [grad.reshape(-1, grad.shape[-1]).to(flat.dtype)]
        joined, of_b = ctx.down.narrow_gradients(grads, narrow_down)
        product = ctx.down.input_gradient(grads, joined)
        gated_back_(gate, up, product)
        of_down = ctx.down.low_gradients(joined, product, of_b)
        del product
        grad_x, of_inner = ctx.inner.backward([gate, up], flat, narrow, ctx.needs_input_grad[0])
        grad_x = None if grad_x is None else grad_x.view(ctx.shape).to(ctx.dtype)
        return grad_x, None, None, *of_inner, *of_down


class Groups(NamedTuple):
    """The adapted projections of a layer, by their input."""

    heads: Group  # queries, keys and values
    out: Group
    inner: Group  # gate and up
    down: Group


def _layer(layer, groups: Groups, hidden_states, position_embeddings=None, attention_mask=None, **kwargs):
    """`Gemma3DecoderLayer.forward`; the model's own where it answers, or without its adapters."""
    attention, config = layer.self_attn, layer.config
    if not layer.training or kwargs.get("past_key_values") is not None or attention.q_proj.disable_adapters:
        rest = {"position_embeddings": position_embeddings, "attention_mask": attention_mask, **kwargs}
        return type(layer).forward(layer, hidden_states, **rest)
    if layer.copies:
        copy_adapters(*layer.copies)
    rows, tokens, _ = hidden_states.shape
    eps = config.rms_norm_eps
    cos, sin = (part.expand(rows, -1, -1) for part in position_embeddings)
    query, key, value = Projections.apply(layer.input_layernorm(hidden_states), groups.heads, *groups.heads.low)
    query = NormRope.apply(query, attention.q_norm.weight, eps, cos, sin, config.num_attention_heads)
    key = NormRope.apply(key, attention.k_norm.weight, eps, cos, sin, config.num_key_value_heads)
    value = value.view(rows, tokens, config.num_key_value_heads, attention.head_dim).transpose(1, 2)
    residual, places = hidden_states, layer.learned_places
    if places is not None:
        at = places[:, :, None]
        query = query.gather(2, at[:, None].expand(-1, query.shape[1], -1, query.shape[3]))
        residual = residual.gather(1, at.expand(-1, -1, residual.shape[2]))
        if attention_mask is None:
            attention_mask = torch.ones(tokens, tokens, dtype=torch.bool, device=places.device).tril()[None, None]
        mask = attention_mask.expand(rows, -1, -1, -1)
        attention_mask = mask.gather(2, at[:, None].expand(-1, mask.shape[1], -1, mask.shape[3]))
    out = scaled_dot_product_attention(
        query, key, value, attention_mask, is_causal=attention_mask is None, scale=attention.scaling, enable_gqa=True
    )
    (out,) = Projections.apply(out.transpose(1, 2).flatten(2), groups.out, *groups.out.low)
    total, normed = AddNorm.apply(
        residual, out, layer.post_attention_layernorm.weight, layer.pre_feedforward_layernorm.weight, eps
    )
    normed = GatedUnit.apply(normed, groups.inner, groups.down, *groups.inner.low, *groups.down.low)
    total = AddNorm.apply(total, normed, layer.post_feedforward_layernorm.weight, None, eps)
    if places is None:
        return total
    return torch.zeros_like(hidden_states).scatter(1, at.expand(-1, -1, total.shape[2]), total)


def _fits(projection: torch.nn.Module) -> bool:
    """Whether a projection has one adapter without dropout, and no bias."""
    if not isinstance(projection, LoraLayer) or len(projection.active_adapters) != 1:
        return False
    idle = isinstance(projection.lora_dropout[projection.active_adapters[0]], torch.nn.Identity)
    return idle and projection.base_layer.bias is None


def fuse_layers_for_training(model: PeftModel) -> int:
    """Give the decoder layers of a Gemma 3 with adapters these forwards; return how many have them.

    The first one brings the adapters' copies of all up to date. Set `learned_places` of the last, (rows, places), to
    the tokens whose logits are learned, where others are of no use: their states are then zeros.
    """
    copies, origins, fused = [], [], []
    for layer in model.get_base_model().get_decoder().layers:
        attention, mlp = layer.self_attn, layer.mlp
        heads, inner = (attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)
        if all(_fits(projection) for projection in (*heads, *inner, attention.o_proj, mlp.down_proj)):
            groups = Groups(Group(*heads), Group(attention.o_proj), Group(*inner), Group(mlp.down_proj))
            for group in groups:
                of_group = group.keep_copies()
                copies += of_group[0]
                origins += of_group[1]
            layer.learned_places, layer.copies = None, ()
            layer.forward = partial(_layer, layer, groups)
            fused.append(layer)
    if fused:
        fused[0].copies = (copies, origins)
    return len(fused)
