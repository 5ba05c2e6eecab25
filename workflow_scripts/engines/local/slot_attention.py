"""Attention of one new token a row to the slots that its row has filled, for decoding on a GPU.

The library's kernels take a mask, read every slot of the buffers, and reach a third of the memory's speed with one
query. Here each key and value is read once, by the program of its row and head, and slots outside the row's range not
at all. The range comes where a mask would: int32 (rows, 1, 1, 2), the first and the last slot. Of prompts without
images their first places come there, int32 (rows, 1, 1, 1), see `prompt_attention`. With a mask, the library's
attention computes.

A prefix that all rows begin with is attended to by all rows together, as one matrix product a head; the softmax of a
row's own slots then goes on from there, with the highest score and the sums so far.
"""

import torch
import triton
import triton.language as tl
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workflow_scripts.engines.local.prompt_attention import attend_to_prompts

NAME = "slots"


@triton.jit
def _prefix_attention(
    query, key, value, summed_of, highest_of, total_of, queries, heads, tokens, scale, GROUP: tl.constexpr,
    WIDTH: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    head = tl.program_id(0)  # of keys and values
    member = tl.program_id(1) * ROWS + tl.arange(0, ROWS)  # row × GROUP + query head of the group
    column = tl.arange(0, WIDTH)
    real = member < queries
    place = ((member // GROUP).to(tl.int64) * heads + head) * GROUP + member % GROUP
    own = place[:, None] * WIDTH + column[None, :]
    q = tl.load(query + own, real[:, None], 0.0)
    highest = tl.full([ROWS], float("-inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    summed = tl.zeros([ROWS, WIDTH], tl.float32)
    for begin in range(0, tokens, BLOCK):
        token = begin + tl.arange(0, BLOCK)
        inside = token < tokens
        tile = (head * tokens + token[:, None]) * WIDTH + column[None, :]
        k = tl.load(key + tile, inside[:, None], 0.0)
        score = tl.where(inside[None, :], tl.dot(q, tl.trans(k)) * scale, float("-inf"))
        top = tl.maximum(highest, tl.max(score, 1))
        share = tl.exp(score - top[:, None])
        fade = tl.exp(highest - top)
        total = total * fade + tl.sum(share, 1)
        v = tl.load(value + tile, inside[:, None], 0.0)
        summed = summed * fade[:, None] + tl.dot(share.to(v.dtype), v)
        highest = top
    tl.store(summed_of + own, summed, real[:, None])
    tl.store(highest_of + place, highest, real)
    tl.store(total_of + place, total, real)


@triton.jit
def _slot_attention(
    query, key, value, seen, out, summed_of, highest_of, total_of, heads, slots, scale, GROUP: tl.constexpr,
    PAD: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, PREFIX: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(0).to(tl.int64)  # a row and one of its key-value heads
    row = pair // heads
    member, column = tl.arange(0, PAD), tl.arange(0, WIDTH)
    own = (pair * GROUP + member[:, None]) * WIDTH + column[None, :]
    q = tl.load(query + own, member[:, None] < GROUP, 0.0)
    first, last = tl.load(seen + row * 2), tl.load(seen + row * 2 + 1)
    if PREFIX:
        real = member < GROUP
        highest = tl.load(highest_of + pair * GROUP + member, real, 0.0)
        total = tl.load(total_of + pair * GROUP + member, real, 1.0)
        summed = tl.load(summed_of + own, real[:, None], 0.0)
    else:
        highest = tl.full([PAD], float("-inf"), tl.float32)
        total = tl.zeros([PAD], tl.float32)
        summed = tl.zeros([PAD, WIDTH], tl.float32)
    for begin in range(first, last + 1, BLOCK):
        place = begin + tl.arange(0, BLOCK)
        inside = place <= last
        tile = (pair * slots + place[:, None]) * WIDTH + column[None, :]
        k = tl.load(key + tile, inside[:, None], 0.0)
        score = tl.where(inside[None, :], tl.dot(q, tl.trans(k)) * scale, float("-inf"))
        top = tl.maximum(highest, tl.max(score, 1))
        share = tl.exp(score - top[:, None])
        fade = tl.exp(highest - top)
        total = total * fade + tl.sum(share, 1)
        v = tl.load(value + tile, inside[:, None], 0.0)
        summed = summed * fade[:, None] + tl.dot(share.to(v.dtype), v)
        highest = top
    tl.store(out + own, summed / total[:, None], member[:, None] < GROUP)


def attend_to_slots(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor,
    scale: float,
    prefix: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Attention (rows, heads, 1, width) of one query a row over a prefix of all rows and the row's range of slots.

    Args:
        key, value: (rows, key-value heads, slots, width), contiguous, of a 16-bit dtype.
        seen: int32 (rows, 1, 1, 2), first and last slot of each row.
        prefix: keys and values that come before each row's own, (1, key-value heads, tokens, width), contiguous.
    """
    rows, heads, _, width = query.shape
    kv_heads, slots = key.shape[1:3]
    group = heads // kv_heads
    query = query.contiguous()
    out = torch.empty_like(query)
    state = [seen, seen, seen]  # not read without a prefix
    if prefix is not None:
        state = [
            torch.empty(rows, heads, size, dtype=torch.float32, device=query.device) for size in (width, 1, 1)
        ]  # sums of values, highest scores, sums of shares
        queries, block = rows * group, 64 if width <= 128 else 32
        _prefix_attention[(kv_heads, triton.cdiv(queries, block))](
            query, *prefix, *state, queries, kv_heads, prefix[0].shape[2], scale,
            group, width, block, block, num_warps=4, num_stages=2,
        )  # fmt: skip
    _slot_attention[(rows * kv_heads,)](
        query, key, value, seen, out, *state, kv_heads, slots, scale,
        group, max(16, triton.next_power_of_2(group)), width, 64, prefix is not None, num_warps=4, num_stages=2,
    )  # fmt: skip
    return out


def _attention(module, query, key, value, attention_mask, scaling=None, **kwargs):
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if attention_mask is not None and attention_mask.dtype == torch.int32:
        prefix = None
        if isinstance(key, tuple):  # see `KeyValues.update`
            (key, prefix_key), (value, prefix_value) = key, value
            prefix = (prefix_key, prefix_value)
        if attention_mask.shape[-1] == 1:
            window = kwargs.get("sliding_window") or query.shape[2]
            return attend_to_prompts(query, key, value, attention_mask, window, scaling, prefix), None
        return attend_to_slots(query, key, value, attention_mask, scaling, prefix).transpose(1, 2), None
    if attention_mask is not None and query.shape[1] != key.shape[1]:
        # cuDNN takes grouped heads as they are; the library would repeat keys and values for it.
        parameters = torch.backends.cuda.SDPAParams(query, key, value, attention_mask, 0.0, False, True)
        if torch.backends.cuda.can_use_cudnn_attention(parameters):
            with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
                out = torch.nn.functional.scaled_dot_product_attention(
                    query, key, value, attn_mask=attention_mask, scale=scaling, enable_gqa=True
                )
            return out.transpose(1, 2).contiguous(), None
    return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)


AttentionInterface.register(NAME, _attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
