"""Attention of one new token a row to the tokens in its row's pages, for decoding on a GPU, and writing to the pages.

The library's kernels take a mask, read every slot of the buffers, and reach a third of the memory's speed with one
query. Here each key and value is read once, by the program of its row and head, and slots without tokens not at all.
How many tokens a row has comes where a mask would: int32 (rows, 1, 1, 2). Of prompts without images their first places
come there, int32 (rows, 1, 1, 1), see `prompt_attention`. With a mask, the library's attention computes.

A prefix that all rows begin with is attended to by all rows together, as one matrix product a head; the softmax of a
row's own tokens then goes on from there, with the highest score and the sums so far.
"""

import torch
import triton
import triton.language as tl
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workflow_scripts.engines.local.pages import PAGE, Paged
from workflow_scripts.engines.local.prompt_attention import attend_to_prompts

NAME = "slots"


@triton.jit(do_not_specialize=["queries", "tokens"])
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


@triton.jit(do_not_specialize=["entries"])
def _slot_attention(
    query, key, value, table, count, out, summed_of, highest_of, total_of, heads, entries, slots, window, scale,
    GROUP: tl.constexpr, PAD: tl.constexpr, WIDTH: tl.constexpr, PAGE: tl.constexpr, BLOCK: tl.constexpr,
    PREFIX: tl.constexpr,
):  # fmt: skip
    pair = tl.program_id(0).to(tl.int64)  # a row and one of its key-value heads
    row, head = pair // heads, pair % heads
    member, column = tl.arange(0, PAD), tl.arange(0, WIDTH)
    own = (pair * GROUP + member[:, None]) * WIDTH + column[None, :]
    q = tl.load(query + own, member[:, None] < GROUP, 0.0)
    newest = tl.load(count + row * 2)
    last, newest = tl.minimum(newest, slots - 1), newest % slots
    if PREFIX:
        real = member < GROUP
        highest = tl.load(highest_of + pair * GROUP + member, real, 0.0)
        total = tl.load(total_of + pair * GROUP + member, real, 1.0)
        summed = tl.load(summed_of + own, real[:, None], 0.0)
    else:
        highest = tl.full([PAD], float("-inf"), tl.float32)
        total = tl.zeros([PAD], tl.float32)
        summed = tl.zeros([PAD, WIDTH], tl.float32)
    table += row * entries
    for begin in range(0, last + 1, BLOCK):
        page = tl.load(table + begin // PAGE).to(tl.int64)
        slot = begin + tl.arange(0, BLOCK)
        inside = slot <= last
        age = newest - slot
        seen = inside & (tl.where(age < 0, age + slots, age) < window)
        tile = ((page * heads + head) * PAGE + slot[:, None] % PAGE) * WIDTH + column[None, :]
        k = tl.load(key + tile, inside[:, None], 0.0)
        score = tl.where(seen[None, :], tl.dot(q, tl.trans(k)) * scale, float("-inf"))
        top = tl.maximum(highest, tl.max(score, 1))
        safe = tl.where(top == float("-inf"), 0.0, top)  # of a block that nothing of is seen
        share = tl.exp(score - safe[:, None])
        fade = tl.exp(highest - safe)
        total = total * fade + tl.sum(share, 1)
        v = tl.load(value + tile, inside[:, None], 0.0)
        summed = summed * fade[:, None] + tl.dot(share.to(v.dtype), v)
        highest = top
    tl.store(out + own, summed / total[:, None], member[:, None] < GROUP)


def attend_to_pages(query: torch.Tensor, key: Paged, value: Paged, count: torch.Tensor, scale: float) -> torch.Tensor:
    """Attention (rows, heads, 1, width) of one query a row over a prefix of all rows and the row's own tokens.

    Args:
        key, value: of a 16-bit dtype; what they hold of a prefix is contiguous, (1, key-value heads, tokens, width).
        count: int32 (rows, 1, 1, 2), the place of each row's newest token among those in pages, twice; it is seen too.
    """
    rows, heads, _, width = query.shape
    kv_heads = key.pool.shape[1]
    group = heads // kv_heads
    query = query.contiguous()
    out = torch.empty_like(query)
    state = [count, count, count]  # not read without a prefix
    if key.prefix is not None:
        state = [
            torch.empty(rows, heads, size, dtype=torch.float32, device=query.device) for size in (width, 1, 1)
        ]  # sums of values, highest scores, sums of shares
        queries, block = rows * group, 64 if width <= 128 else 32
        _prefix_attention[(kv_heads, triton.cdiv(queries, block))](
            query, key.prefix, value.prefix, *state, queries, kv_heads, key.prefix.shape[2], scale,
            group, width, block, block, num_warps=4, num_stages=2,
        )  # fmt: skip
    _slot_attention[(rows * kv_heads,)](
        query, key.pool, value.pool, key.table, count, out, *state, kv_heads, key.table.shape[1], key.slots,
        key.window, scale, group, max(16, triton.next_power_of_2(group)), width, PAGE, 64 if width <= 128 else 32,
        key.prefix is not None, num_warps=4, num_stages=2,
    )  # fmt: skip
    return out


@triton.jit(do_not_specialize=["entries", "ahead"])
def _store_new(
    key, value, keys, values, table, count, key_row, key_head, value_row, value_head, heads, entries, slots, ahead,
    HEADS: tl.constexpr, WIDTH: tl.constexpr, PAGE: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    slot = (tl.load(count + row) + ahead) % slots
    page = tl.load(table + row * entries + slot // PAGE).to(tl.int64)
    head, column = tl.arange(0, HEADS)[:, None], tl.arange(0, WIDTH)[None, :]
    real = head < heads
    target = ((page * heads + head) * PAGE + slot % PAGE) * WIDTH + column
    tl.store(keys + target, tl.load(key + row * key_row + head * key_head + column, real), real)
    tl.store(values + target, tl.load(value + row * value_row + head * value_head + column, real), real)


def store_new(key: torch.Tensor, value: torch.Tensor, keys: Paged, values: Paged, count: torch.Tensor) -> None:
    """Write one new token a row, (rows, key-value heads, 1, width), to the pages, behind the row's `count` others.

    Args:
        count: int64 (rows,), the prefix left out.
    """
    rows, heads, _, width = key.shape
    _store_new[(rows,)](
        key, value, keys.pool, values.pool, keys.table, count, *key.stride()[:2], *value.stride()[:2], heads,
        keys.table.shape[1], keys.slots, keys.ahead, triton.next_power_of_2(heads), width, PAGE, num_warps=4,
    )  # fmt: skip


@triton.jit(do_not_specialize=["tokens", "entries", "ahead"])
def _store_prompts(
    states, prefix, pool, table, start, row_step, head_step, step, tokens, heads, entries, slots, ahead,
    WIDTH: tl.constexpr, PAGE: tl.constexpr, PREFIX: tl.constexpr,
):  # fmt: skip
    begin, row, head = tl.program_id(0) * PAGE, tl.program_id(1).to(tl.int64), tl.program_id(2)
    first = tl.load(start + row)
    whole = tokens - first + ahead
    if (begin < whole) & (begin + PAGE > whole - slots):
        place, column = begin + tl.arange(0, PAGE)[:, None], tl.arange(0, WIDTH)[None, :]
        # Of two tokens that share a slot, the newer one is written.
        real = (place < whole) & (place >= whole - slots)
        own = states + row * row_step + head * head_step + (place - ahead + first) * step + column
        content = tl.load(own, real & (place >= ahead), 0.0)
        if PREFIX:
            shared = tl.load(prefix + (head * ahead + place) * WIDTH + column, real & (place < ahead), 0.0)
            content = tl.where(place < ahead, shared, content)
        page = tl.load(table + row * entries + begin % slots // PAGE).to(tl.int64)
        tl.store(pool + ((page * heads + head) * PAGE + place % PAGE) * WIDTH + column, content, real)


def store_prompts(key: torch.Tensor, value: torch.Tensor, keys: Paged, values: Paged, start: torch.Tensor) -> None:
    """Write prompts (rows, key-value heads, tokens, width) to the pages, with what these hold of the prefix.

    Args:
        keys, values: with the tables of these rows.
        start: int32 (rows,), the first place of each row that is no padding.
    """
    rows, heads, tokens, width = key.shape
    ahead = keys.ahead
    for states, paged in ((key, keys), (value, values)):
        _store_prompts[(triton.cdiv(tokens + ahead, PAGE), rows, heads)](
            states, states if paged.prefix is None else paged.prefix, paged.pool, paged.table, start,
            *states.stride()[:3], tokens, heads, paged.table.shape[1], paged.slots, ahead, width, PAGE, ahead > 0,
            num_warps=4,
        )  # fmt: skip


def _attention(module, query, key, value, attention_mask, scaling=None, **kwargs):
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    if isinstance(key, Paged):
        return attend_to_pages(query, key, value, attention_mask, scaling).transpose(1, 2), None
    if attention_mask is not None and attention_mask.dtype == torch.int32:
        prefix = None
        if isinstance(key, tuple):  # see `PagedKeyValues.update`
            (key, prefix_key), (value, prefix_value) = key, value
            prefix = (prefix_key, prefix_value)
        window = kwargs.get("sliding_window") or query.shape[2] + (0 if prefix is None else prefix[0].shape[2])
        return attend_to_prompts(query, key, value, attention_mask, window, scaling, prefix), None
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
