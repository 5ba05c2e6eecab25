"""Gemma 3's decoder layers for training adapters on a GPU: the model's sums in fewer passes, and none that is not used.

Of the last layer only what stands at learned places reaches the loss: its output projection and its gated unit work on
those alone. The layers before it run as CUDA graphs, so that launching their kernels takes no time of the processor.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch.nn.functional import scaled_dot_product_attention
from transformers.modeling_outputs import BaseModelOutputWithPast

from workflow_scripts.models.fused.heads import norm_rope
from workflow_scripts.models.fused.lora import low_rank_of
from workflow_scripts.models.fused.norms import AddNorm, norm_rope_back
from workflow_scripts.models.fused.training.adapted import AdaptedGroup, Matrices, widened
from workflow_scripts.models.fused.training.attention import (
    MaskedAttention,
    SeenBlocks,
    heads_that_fit,
    seen_blocks,
    shared_memory,
)
from workflow_scripts.models.fused.training.gated import LowRank, fits, gated, gated_back_
from workflow_scripts.models.fused.training.graphs import GraphedStack, Step
from workflow_scripts.models.fused.training.in_float8 import Float8Group


class Groups(NamedTuple):
    """The adapted projections of a layer, by their input."""

    heads: AdaptedGroup  # queries, keys and values
    out: AdaptedGroup
    inner: AdaptedGroup  # gate and up
    down: AdaptedGroup


class Heads(torch.autograd.Function):
    """Queries and keys, normed and rotated, and values: (rows, heads, tokens, width) each, of x (rows, tokens, in)."""

    @staticmethod
    def forward(ctx, x, group, attention, cos, sin, *low):
        rows, config = len(x), attention.config
        wide = widened(x, group.columns)
        both, narrow = group.forward(wide, wide=True)
        ctx.group, ctx.attention = group, attention
        ctx.save_for_backward(wide, narrow, both, cos, sin)
        query, key, value = _split(both, group, rows)
        eps = config.rms_norm_eps
        query = norm_rope(query, attention.q_norm.weight, eps, cos, sin, config.num_attention_heads)
        key = norm_rope(key, attention.k_norm.weight, eps, cos, sin, config.num_key_value_heads)
        return query, key, value.unflatten(2, (config.num_key_value_heads, attention.head_dim)).transpose(1, 2)

    @staticmethod
    def backward(ctx, grad_query, grad_key, grad_value):
        wide, narrow, both, cos, sin = ctx.saved_tensors
        group, attention = ctx.group, ctx.attention
        rows, eps = grad_query.shape[0], attention.config.rms_norm_eps
        query, key, value = _split(both, group, rows)
        # Written over the values before norm and rotation, which nothing needs any more.
        norm_rope_back(grad_query, query, attention.q_norm.weight, eps, cos, sin, query.flatten(0, 1))
        norm_rope_back(grad_key, key, attention.k_norm.weight, eps, cos, sin, key.flatten(0, 1))
        value.unflatten(2, grad_value.shape[1::2]).transpose(1, 2).copy_(grad_value)
        grad_x, back = group.input_gradient(both)
        low = group.low_gradients(both, back, wide, narrow)
        return grad_x.unflatten(0, (rows, -1)), None, None, None, None, *low


def _split(both: torch.Tensor, group: AdaptedGroup, rows: int) -> tuple[torch.Tensor, ...]:
    """The outputs of a group's projections, (rows, tokens, size) each."""
    return both[:, : group.out].unflatten(0, (rows, -1)).split(group.sizes, -1)


class Projection(torch.autograd.Function):
    """One adapted projection of x (rows, tokens, in)."""

    @staticmethod
    def forward(ctx, x, group, *low):
        wide = widened(x, group.columns)
        y, narrow = group.forward(wide)
        ctx.save_for_backward(wide, narrow)
        ctx.group, ctx.shape = group, x.shape
        return y.unflatten(0, x.shape[:2])

    @staticmethod
    def backward(ctx, grad):
        wide, narrow = ctx.saved_tensors
        group = ctx.group
        grad = widened(grad, group.columns)
        grad_x, back = group.input_gradient(grad)
        low = group.low_gradients(grad, back, wide, narrow)
        return grad_x.view(ctx.shape), None, *low


class GatedUnit(torch.autograd.Function):
    """`down(gelu_tanh(gate(x)) · up(x))` of adapted projections; the gated product is computed anew, not stored."""

    @staticmethod
    def forward(ctx, x, inner, down, *low):
        flat = x.flatten(0, 1)
        both, narrow = inner.forward_apart(flat)
        product, narrow_down = gated(both, _low_of(inner, narrow), down.downs, down.columns)
        y, _ = down.forward(product, narrow_down)
        ctx.save_for_backward(flat, narrow, both, narrow_down)
        ctx.inner, ctx.down, ctx.shape = inner, down, x.shape
        return y.unflatten(0, x.shape[:-1])

    @staticmethod
    def backward(ctx, grad):
        flat, narrow, both, narrow_down = ctx.saved_tensors
        inner, down = ctx.inner, ctx.down
        grad = grad.flatten(0, 1)
        gradient, back_down = down.input_gradient_apart(grad)
        sums = gated_back_(both, _low_of(inner, narrow), gradient, back_down, down.downs)
        del gradient
        of_down = down.in_order(sums.of_down, [grad.t() @ narrow_down[:, : down.ranks[0]]])
        grad_x, back = inner.input_gradient(both, sums.back)
        of_inner = inner.in_order(back.t() @ flat, [sums.of_gate, sums.of_up])
        return grad_x.view(ctx.shape), None, None, *of_inner, *of_down


def _low_of(inner: AdaptedGroup, narrow: torch.Tensor) -> LowRank:
    """The adapters of gate and up, and what they made of the input."""
    gate, up = inner.ranks
    return LowRank(narrow, inner.ups, (gate, up))


class FusedLayer:
    """`Gemma3DecoderLayer.forward` for training.

    Args:
        layer: whose seven projections have adapters.
        matrices: shared by all layers.
        float8: whether the frozen weights' products are of 8-bit codes.
    """

    def __init__(self, layer: torch.nn.Module, matrices: Matrices, *, float8: bool) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.layer = layer
        kind = Float8Group if float8 else AdaptedGroup
        self.groups = Groups(
            kind(attention.q_proj, attention.k_proj, attention.v_proj, matrices=matrices),
            kind(attention.o_proj, matrices=matrices),
            kind(mlp.gate_proj, mlp.up_proj, matrices=matrices),
            kind(mlp.down_proj, matrices=matrices),
        )

    def refresh(self) -> None:
        """Bring the copies of the adapters up to date."""
        for group in self.groups:
            group.refresh()

    def forward(
        self,
        total: torch.Tensor,
        normed: torch.Tensor,
        step: Step,
        following: "FusedLayer | None" = None,
        seen: dict[str, SeenBlocks] | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The states after this layer, (rows, tokens, size), and these normed for the `following` one.

        Args:
            total: the states before it.
            normed: by its first norm.
            seen: blocks of the step's masks; without these, attention is the library's.
        """
        layer, groups = self.layer, self.groups
        attention, eps = layer.self_attn, layer.config.rms_norm_eps
        kind = layer.config.layer_types[layer.layer_idx]
        (cos, sin), mask, places = step.rotations[kind], step.masks[kind], layer.learned_places
        before = total
        query, key, value = Heads.apply(normed, groups.heads, attention, cos, sin, *groups.heads.low)
        if places is not None:
            rows, tokens = total.shape[:2]
            at = places[:, :, None]  # what stands elsewhere is not computed
            query = query.gather(2, at[:, None].expand(-1, query.shape[1], -1, query.shape[3]))
            total = total.gather(1, at.expand(-1, -1, total.shape[2]))
            if mask is None:
                mask = _causal(tokens, places.device)
            mask = mask.expand(rows, -1, -1, -1)
            mask = mask.gather(2, at[:, None].expand(-1, mask.shape[1], -1, mask.shape[3]))
        elif seen is not None:
            out = MaskedAttention.apply(query, key, value, seen[kind], attention.scaling, groups.out.columns)
        if places is not None or seen is None:
            out = scaled_dot_product_attention(
                query, key, value, mask, is_causal=mask is None, scale=attention.scaling, enable_gqa=True
            )
            out = out.transpose(1, 2).flatten(2)
        out = Projection.apply(out, groups.out, *groups.out.low)
        total, normed = AddNorm.apply(
            total,
            out,
            layer.post_attention_layernorm.weight,
            layer.pre_feedforward_layernorm.weight,
            eps,
            0,
            groups.out.columns,
        )
        out = GatedUnit.apply(normed, groups.inner, groups.down, *groups.inner.low, *groups.down.low)
        norm = layer.post_feedforward_layernorm.weight
        if following is None:
            total = AddNorm.apply(total, out, norm, None, eps, 0, 0)
            if places is not None:
                total = torch.zeros_like(before).scatter(1, at.expand(-1, -1, total.shape[2]), total)
            return total, None
        weight, columns = following.layer.input_layernorm.weight, following.groups.heads.columns
        return AddNorm.apply(total, out, norm, weight, eps, columns, 0)


class FusedDecoder:
    """The language model's `forward` for training; its own where it answers, or without its adapters."""

    def __init__(self, decoder: torch.nn.Module, layers: list[FusedLayer]) -> None:
        self._decoder, self._layers = decoder, layers
        *before, self._last = layers
        parameters = [each for layer in before for group in layer.groups for each in group.low]
        self._stack = GraphedStack(self._run, 2, parameters)
        width, memory = layers[0].layer.self_attn.head_dim, shared_memory(decoder.device)
        self._attends = heads_that_fit(width, decoder.dtype, memory) > 0  # else attention is the library's

    def __call__(self, input_ids=None, attention_mask=None, position_ids=None, inputs_embeds=None, **kwargs) -> Any:
        decoder, first = self._decoder, self._layers[0].layer
        if (
            not decoder.training
            or not torch.is_grad_enabled()
            or kwargs.get("past_key_values") is not None
            or kwargs.get("use_cache")
            or first.gradient_checkpointing
            or first.self_attn.q_proj.disable_adapters
            or not isinstance(attention_mask, dict)
        ):
            return type(decoder).forward(
                decoder,
                input_ids=input_ids,
                attention_mask=attention_mask,
                position_ids=position_ids,
                inputs_embeds=inputs_embeds,
                **kwargs,
            )
        states = decoder.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        if position_ids is None:
            position_ids = torch.arange(states.shape[1], device=states.device)[None]
        rotations = {}
        for kind in sorted(set(decoder.config.layer_types)):
            cos, sin = decoder.rotary_emb(states, position_ids, kind)
            rotations[kind] = tuple(part.expand(len(states), -1, -1).contiguous() for part in (cos, sin))
        step = Step(rotations, {kind: attention_mask[kind] for kind in rotations})
        total, normed = self._stack(states, step)
        total, _ = self._last.forward(total, normed, step)
        return BaseModelOutputWithPast(last_hidden_state=decoder.norm(total))

    def _run(self, states: torch.Tensor, step: Step) -> tuple[torch.Tensor, torch.Tensor]:
        """All layers but the last: states and normed states before that."""
        for layer in self._layers:
            layer.refresh()
        seen = _seen(step, states) if self._attends else None
        total, normed = states, self._layers[0].layer.input_layernorm(states)
        for layer, following in zip(self._layers, self._layers[1:], strict=False):
            total, normed = layer.forward(total, normed, step, following, seen)
        return total, normed


def _causal(tokens: int, device: torch.device) -> torch.Tensor:
    """The mask of what comes before, (1, 1, tokens, tokens)."""
    return torch.ones(tokens, tokens, dtype=torch.bool, device=device).tril()[None, None]


def _seen(step: Step, states: torch.Tensor) -> dict[str, SeenBlocks]:
    """The blocks of each mask where attention is to be computed."""
    rows, tokens = states.shape[:2]
    masks = {kind: _causal(tokens, states.device) if mask is None else mask for kind, mask in step.masks.items()}
    return {kind: seen_blocks(mask.expand(rows, -1, -1, -1)) for kind, mask in masks.items()}


def _layer(fused: FusedLayer, hidden_states, position_embeddings=None, attention_mask=None, **kwargs):
    """`Gemma3DecoderLayer.forward` of one layer by itself, as gradient checkpointing calls it."""
    layer = fused.layer
    if not layer.training or kwargs.get("past_key_values") is not None or layer.self_attn.q_proj.disable_adapters:
        rest = {"position_embeddings": position_embeddings, "attention_mask": attention_mask, **kwargs}
        return type(layer).forward(layer, hidden_states, **rest)
    fused.refresh()
    kind = layer.config.layer_types[layer.layer_idx]
    cos, sin = (part.expand(len(hidden_states), -1, -1).contiguous() for part in position_embeddings)
    step = Step({kind: (cos, sin)}, {kind: attention_mask})
    return fused.forward(hidden_states, layer.input_layernorm(hidden_states), step)[0]


def _image_places(config: Any, input_ids: torch.Tensor, **_: torch.Tensor) -> torch.Tensor:
    """Where image tokens are, (rows, tokens, 1); the library's own counts them too, and waits for the device."""
    return (input_ids == config.image_token_id)[..., None]


def _fits(projection: torch.nn.Module) -> bool:
    """Whether a projection has one adapter without dropout, and no bias."""
    if not isinstance(projection, LoraLayer) or len(projection.active_adapters) != 1:
        return False
    idle = isinstance(projection.lora_dropout[projection.active_adapters[0]], torch.nn.Identity)
    return idle and projection.base_layer.bias is None


def fuse_layers_for_training(model: PeftModel, *, float8: bool = False) -> int:
    """Give the decoder of a Gemma 3 with adapters on all projections of all layers these forwards.

    Set `learned_places` of its last layer, (rows, places), to the tokens whose logits are learned, where others are of
    no use: their states are then zeros.

    Returns:
        How many layers have them: all or none, as with adapters of the gated unit whose ranks (more than 128 in
        bfloat16 on an H100) leave its passes too little shared memory.
    """
    decoder = model.get_base_model().get_decoder()
    for layer in decoder.layers:
        attention, mlp = layer.self_attn, layer.mlp
        heads, inner = (attention.q_proj, attention.k_proj, attention.v_proj), (mlp.gate_proj, mlp.up_proj)
        if not all(_fits(projection) for projection in (*heads, *inner, attention.o_proj, mlp.down_proj)):
            return 0
        ranks = [len(low_rank_of(projection)[0]) for projection in (*inner, mlp.down_proj)]
        if not fits(max(ranks), decoder.dtype, shared_memory(decoder.device)):
            return 0
    matrices: Matrices = {}
    layers = [FusedLayer(layer, matrices, float8=float8) for layer in decoder.layers]
    for fused in layers:
        fused.layer.learned_places = None
        fused.layer.forward = partial(_layer, fused)
    decoder.forward = FusedDecoder(decoder, layers)
    for module in model.get_base_model().modules():
        if hasattr(module, "get_placeholder_mask"):
            module.get_placeholder_mask = partial(_image_places, module.config)
    return len(layers)
