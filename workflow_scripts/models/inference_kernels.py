"""Gemma 3 layers with fewer passes over memory, for inference on a GPU: the sums are the model's own.

Beside the matrix products, a prompt's time goes into copies: heads are normed, transposed, rotated and transposed
again, one kernel each. Here queries and keys take one pass from the projection's layout to the attention's, and the
gated unit one pass in place.
"""

from types import MethodType

import torch
import triton
import triton.language as tl
from transformers import PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS


@triton.jit
def _norm_rope(x, weight, cos, sin, y, tokens, eps, HEADS: tl.constexpr, HALF: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)  # of all rows
    row, place = token // tokens, token % tokens
    head, column = tl.arange(0, HEADS)[:, None], tl.arange(0, HALF)[None, :]
    source = x + token * HEADS * HALF * 2 + head * HALF * 2 + column
    first, second = tl.load(source).to(tl.float32), tl.load(source + HALF).to(tl.float32)
    mean = (tl.sum(first * first, 1) + tl.sum(second * second, 1)) / (HALF * 2)
    scale = tl.rsqrt(mean + eps)[:, None]
    # Rounded where the model rounds: after the norm.
    first = (first * scale * (1 + tl.load(weight + column).to(tl.float32))).to(y.dtype.element_ty).to(tl.float32)
    second = (second * scale * (1 + tl.load(weight + HALF + column).to(tl.float32))).to(y.dtype.element_ty)
    second = second.to(tl.float32)
    angle = token * HALF * 2 + column
    cos_1, cos_2 = tl.load(cos + angle).to(tl.float32), tl.load(cos + angle + HALF).to(tl.float32)
    sin_1, sin_2 = tl.load(sin + angle).to(tl.float32), tl.load(sin + angle + HALF).to(tl.float32)
    target = y + ((row * HEADS + head) * tokens + place) * HALF * 2 + column
    tl.store(target, first * cos_1 - second * sin_1)
    tl.store(target + HALF, second * cos_2 + first * sin_2)


def norm_rope(
    x: torch.Tensor, weight: torch.Tensor, eps: float, cos: torch.Tensor, sin: torch.Tensor, heads: int
) -> torch.Tensor:
    """RMSNorm of each head and rotary embedding: (rows, tokens, heads × width) to (rows, heads, tokens, width).

    Args:
        weight: (width,), as Gemma's norms keep it: less one.
        cos, sin: (rows, tokens, width).
    """
    rows, tokens, size = x.shape
    width = size // heads
    y = torch.empty(rows, heads, tokens, width, dtype=x.dtype, device=x.device)
    _norm_rope[(rows * tokens,)](
        x.contiguous(), weight, cos.contiguous(), sin.contiguous(), y, tokens, eps, heads, width // 2, num_warps=4
    )
    return y


@triton.jit
def _gelu_gate(gate, up, count, BLOCK: tl.constexpr):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < count
    x = tl.load(gate + place, inside).to(tl.float32)
    # x/2 · (1 + tanh z) = x · sigmoid(2 z)
    z = 0.7978845608028654 * (x + 0.044715 * x * x * x)
    act = (x * tl.sigmoid(2 * z)).to(gate.dtype.element_ty).to(tl.float32)
    tl.store(gate + place, act * tl.load(up + place, inside).to(tl.float32), inside)


def gelu_gate_(gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
    """`gelu_tanh(gate) · up`, written over `gate`; both contiguous and of one shape."""
    count = gate.numel()
    _gelu_gate[(triton.cdiv(count, 4096),)](gate, up, count, 4096, num_warps=8)
    return gate


def _attend(self, hidden_states, position_embeddings=None, attention_mask=None, past_key_values=None, **kwargs):
    """`Gemma3Attention.forward` with queries and keys normed, rotated and laid out in one pass."""
    rows, tokens = hidden_states.shape[:2]
    cos, sin = (part.expand(rows, -1, -1) for part in position_embeddings)
    heads = self.config.num_attention_heads
    kv_heads = self.config.num_key_value_heads
    query = norm_rope(self.q_proj(hidden_states), self.q_norm.weight, self.config.rms_norm_eps, cos, sin, heads)
    key = norm_rope(self.k_proj(hidden_states), self.k_norm.weight, self.config.rms_norm_eps, cos, sin, kv_heads)
    value = self.v_proj(hidden_states).view(rows, tokens, kv_heads, self.head_dim).transpose(1, 2)
    if past_key_values is not None:
        key, value = past_key_values.update(key, value, self.layer_idx)
    attention = ALL_ATTENTION_FUNCTIONS[self.config._attn_implementation]
    out, weights = attention(
        self, query, key, value, attention_mask, dropout=0.0, scaling=self.scaling, sliding_window=self.sliding_window
    )
    return self.o_proj(out.reshape(rows, tokens, -1)), weights


def _gate(self, x: torch.Tensor) -> torch.Tensor:
    """`Gemma3MLP.forward` with the gated unit in one pass."""
    return self.down_proj(gelu_gate_(self.gate_proj(x), self.up_proj(x)))


def fuse_attention_and_gate(base: PreTrainedModel) -> None:
    """Give the language layers of a Gemma 3 these forwards; for inference alone, they keep nothing for a gradient."""
    for layer in base.get_decoder().layers:
        layer.self_attn.forward = MethodType(_attend, layer.self_attn)
        layer.mlp.forward = MethodType(_gate, layer.mlp)
