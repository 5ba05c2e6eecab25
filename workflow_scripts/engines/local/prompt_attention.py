"""Attention over prompts that are padded on the left, for a GPU: nothing that a mask would hide is computed.

The library's kernels take a mask and compute every product below it, whole windows of padding and of what a sliding
layer does not see among them; for heads 256 wide they reach an eighth of the chip's rate. Here a program computes a
tile of one head's queries, and goes through the keys that some query of the tile sees.
"""

from functools import cache

import torch
import triton
import triton.language as tl

LOG2_E = 1.4426950408889634
"""The kernel takes powers of two, which the chip has."""


@triton.jit
def _more(q, highest, total, summed, key, value, token, seen, inside, key_step, value_step, column, scale):
    """The softmax of a tile after one more block of keys."""
    k = tl.load(key + token[:, None] * key_step + column[None, :], inside[:, None], 0.0)
    score = tl.where(seen, tl.dot(q, tl.trans(k)) * scale, float("-inf"))
    top = tl.maximum(highest, tl.max(score, 1))
    safe = tl.where(top == float("-inf"), 0.0, top)  # of a padded query, which sees nothing
    share = tl.exp2(score - safe[:, None])
    fade = tl.exp2(highest - safe)
    v = tl.load(value + token[:, None] * value_step + column[None, :], inside[:, None], 0.0)
    return top, total * fade + tl.sum(share, 1), summed * fade[:, None] + tl.dot(share.to(v.dtype), v)


@triton.jit(do_not_specialize=["tokens", "common"])  # of each length compiled once
def _prompt_attention(
    query, key, value, prefix_key, prefix_value, start, out, query_row, query_head, query_step, key_row, key_head,
    key_step, value_row, value_head, value_step, heads, tokens, common, window, scale, GROUP: tl.constexpr,
    WIDTH: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, PREFIX: tl.constexpr,
):  # fmt: skip
    # The last tiles have most keys: they begin first.
    tile = tl.num_programs(0) - 1 - tl.program_id(0)
    row, head = (tl.program_id(1) // heads).to(tl.int64), tl.program_id(1) % heads
    place, column = tile * QUERIES + tl.arange(0, QUERIES), tl.arange(0, WIDTH)
    real = place < tokens
    query += row * query_row + head * query_head
    key += row * key_row + (head // GROUP) * key_head
    value += row * value_row + (head // GROUP) * value_head
    q = tl.load(query + place[:, None] * query_step + column[None, :], real[:, None], 0.0)
    highest = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)
    summed = tl.zeros([QUERIES, WIDTH], tl.float32)
    first = tl.load(start + row)
    if PREFIX:
        prefix_key += (head // GROUP) * common * WIDTH
        prefix_value += (head // GROUP) * common * WIDTH
        index = place - first + common  # of a query, among its row's tokens
        earliest = tl.maximum(0, tile * QUERIES - first + common - window + 1)
        for begin in range(earliest // KEYS * KEYS, common, KEYS):
            token = begin + tl.arange(0, KEYS)
            inside = token < common
            seen = inside[None, :] & (index[:, None] - token[None, :] < window)
            highest, total, summed = _more(
                q, highest, total, summed, prefix_key, prefix_value, token, seen, inside, WIDTH, WIDTH, column, scale
            )
    lowest = tl.maximum(first, tile * QUERIES - window + 1)
    for begin in range(lowest // KEYS * KEYS, tl.minimum((tile + 1) * QUERIES, tokens), KEYS):
        token = begin + tl.arange(0, KEYS)
        distance = place[:, None] - token[None, :]
        seen = (distance >= 0) & (distance < window) & (token >= first)[None, :]
        highest, total, summed = _more(
            q, highest, total, summed, key, value, token, seen, token < tokens, key_step, value_step, column, scale
        )
    total = tl.where(total > 0, total, 1.0)
    own = ((row * tokens + place[:, None]) * heads + head) * WIDTH + column[None, :]
    tl.store(out + own, summed / total[:, None], real[:, None])


@cache
def _stages(device: torch.device, queries: int, keys: int, width: int) -> int:
    """Blocks of keys and values under way at a time: three, or what the chip's shared memory holds."""
    limit = torch.cuda.get_device_properties(device).shared_memory_per_block_optin
    fitting = (limit // 2 - queries * width) // (2 * keys * width)  # values of 16 bits
    return max(1, min(3, fitting))


def attend_to_prompts(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    start: torch.Tensor,
    window: int,
    scale: float,
    prefix: tuple[torch.Tensor, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Causal attention (rows, tokens, heads, width) of prompts that are padded on the left; zeros where padding asks.

    Args:
        query: (rows, heads, tokens, width), of a 16-bit dtype; any strides, values of one head side by side.
        key, value: (rows, key-value heads, tokens, width), likewise.
        start: int32 (rows,), the first place of each row that is no padding.
        window: how many tokens a token sees, itself included.
        prefix: keys and values that come before each row's own, (1, key-value heads, tokens, width), contiguous.
    """
    rows, heads, tokens, width = query.shape
    group = heads // key.shape[1]
    out = torch.empty(rows, tokens, heads, width, dtype=query.dtype, device=query.device)
    before = (key, value) if prefix is None else prefix  # not read without a prefix
    common = 0 if prefix is None else prefix[0].shape[2]
    queries, keys = 64, 64  # with three stages the fastest on an H100, for heads of 128 and of 256 values
    _prompt_attention[(triton.cdiv(tokens, queries), rows * heads)](
        query, key, value, *before, start, out, *query.stride()[:3], *key.stride()[:3], *value.stride()[:3], heads,
        tokens, common, window, scale * LOG2_E, group, width, queries, keys, prefix is not None, num_warps=4,
        num_stages=_stages(query.device, queries, keys, width),
    )  # fmt: skip
    return out
