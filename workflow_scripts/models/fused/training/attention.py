"""Attention under a mask, forward and backward, that leaves out blocks where no key may be seen.

A prompt with an image is causal but for the image's tokens, which see each other: half of the blocks of the mask are
empty. The library's kernel with a mask computes those too, and reads the mask as numbers to add.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

BLOCK = 64
"""Queries, and keys, of a block."""

FORWARD = {"num_warps": 4, "num_stages": 1}
KEYS_BACK = {"num_warps": 8, "num_stages": 2}
QUERIES_BACK = {"num_warps": 4, "num_stages": 2}
"""The fastest on an H100 where heads are 256 wide."""

NOTHING = -1e30
"""Stands for minus infinity: a difference of two is a number."""


class SeenBlocks(NamedTuple):
    """A mask, and for each block of queries the range of blocks of keys that is seen, and the other way round."""

    mask: torch.Tensor  # (rows, tokens, tokens), whether a query sees a key
    keys: torch.Tensor  # (rows, blocks): the first block of keys that a block of queries sees
    key_counts: torch.Tensor  # (rows, blocks): blocks from there to the last
    queries: torch.Tensor
    query_counts: torch.Tensor


def seen_blocks(mask: torch.Tensor) -> SeenBlocks:
    """The ranges of blocks of a mask (rows, 1, tokens, tokens) that are not empty."""
    mask = mask[:, 0]
    if mask.stride()[1:] != (mask.shape[2], 1):
        mask = mask.contiguous()
    rest = -mask.shape[1] % BLOCK
    blocks = torch.nn.functional.pad(mask.to(torch.uint8), (0, rest, 0, rest))
    blocks = blocks.unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK)).amax((2, 4))
    sides = []
    for side in (blocks, blocks.transpose(1, 2)):
        first, after = side.argmax(2), side.shape[2] - side.flip(2).argmax(2)
        sides += [first.int(), ((after - first) * side.amax(2)).int()]
    return SeenBlocks(mask, *sides)


@triton.jit
def _forward(
    query, key, value, mask, firsts, counts, out, sums, tokens, factor, q_row, q_head, q_token, k_row, k_head, k_token,
    v_row, v_head, v_token, m_row, o_row, o_token, HEADS: tl.constexpr, GROUP: tl.constexpr, WIDTH: tl.constexpr,
    BLOCK: tl.constexpr, NOTHING: tl.constexpr,
):  # fmt: skip
    part, blocks = tl.program_id(0), tl.num_programs(0)
    row, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    column, member = tl.arange(0, WIDTH), tl.arange(0, BLOCK)
    at = part * BLOCK + member
    real = at < tokens
    q = tl.load(query + row * q_row + head * q_head + at[:, None] * q_token + column[None, :], real[:, None], 0.0)
    key += row * k_row + (head // GROUP) * k_head + column[:, None]
    value += row * v_row + (head // GROUP) * v_head + column[None, :]
    mask += row * m_row + at[:, None] * tokens
    start = tl.load(firsts + row * blocks + part)
    most = tl.full([BLOCK], NOTHING, tl.float32)
    total = tl.zeros([BLOCK], tl.float32)
    result = tl.zeros([BLOCK, WIDTH], tl.float32)
    end = start + tl.load(counts + row * blocks + part)
    for number in range(start, end):
        other = number * BLOCK + member
        there = other < tokens
        k = tl.load(key + other[None, :] * k_token, there[None, :], 0.0)
        seen = tl.load(mask + other[None, :], real[:, None] & there[None, :], 0)
        score = tl.where(seen != 0, tl.dot(q, k) * factor, NOTHING)
        larger = tl.maximum(most, tl.max(score, 1))
        weight = tl.exp2(score - larger[:, None])
        shrink = tl.exp2(most - larger)
        total = total * shrink + tl.sum(weight, 1)
        v = tl.load(value + other[:, None] * v_token, there[:, None], 0.0)
        result = result * shrink[:, None] + tl.dot(weight.to(v.dtype), v)
        most = larger
    result = result / total[:, None]
    tl.store(out + row * o_row + at[:, None] * o_token + head * WIDTH + column[None, :], result, real[:, None])
    tl.store(sums + (row * HEADS + head) * tokens + at, most + tl.log2(total), real)


@triton.jit
def _along(out, grad, along, tokens, o_row, o_token, g_row, g_head, g_token, HEADS: tl.constexpr, WIDTH: tl.constexpr):
    token = tl.program_id(0).to(tl.int64)
    row, place = token // tokens, token % tokens
    head, column = tl.arange(0, HEADS)[:, None], tl.arange(0, WIDTH)[None, :]
    value = tl.load(out + row * o_row + place * o_token + head * WIDTH + column).to(tl.float32)
    gradient = tl.load(grad + row * g_row + head * g_head + place * g_token + column).to(tl.float32)
    tl.store(along + (row * HEADS + tl.arange(0, HEADS)) * tokens + place, tl.sum(value * gradient, 1))


@triton.jit
def _keys_back(
    query, key, value, grad, mask, firsts, counts, sums, along, grad_key, grad_value, tokens, factor, scale, q_row,
    q_head, q_token, k_row, k_head, k_token, v_row, v_head, v_token, m_row, g_row, g_head, g_token,
    HEADS: tl.constexpr, GROUP: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    part, blocks = tl.program_id(0), tl.num_programs(0)
    kv_heads: tl.constexpr = HEADS // GROUP
    row, kv_head = (tl.program_id(1) // kv_heads).to(tl.int64), tl.program_id(1) % kv_heads
    column, member = tl.arange(0, WIDTH), tl.arange(0, BLOCK)
    at = part * BLOCK + member
    real = at < tokens
    k = tl.load(key + row * k_row + kv_head * k_head + at[:, None] * k_token + column[None, :], real[:, None], 0.0)
    v = tl.load(value + row * v_row + kv_head * v_head + at[:, None] * v_token + column[None, :], real[:, None], 0.0)
    first = kv_head * GROUP
    query += row * q_row + first * q_head + column[None, :]
    grad += row * g_row + first * g_head + column[None, :]
    sums += (row * HEADS + first) * tokens
    along += (row * HEADS + first) * tokens
    mask += row * m_row + at[:, None]
    start = tl.load(firsts + row * blocks + part)
    end = start + tl.load(counts + row * blocks + part)
    of_key = tl.zeros([BLOCK, WIDTH], tl.float32)
    of_value = tl.zeros([BLOCK, WIDTH], tl.float32)
    for head in range(GROUP):
        for number in range(start, end):
            other = number * BLOCK + member
            there = other < tokens
            q = tl.load(query + head * q_head + other[:, None] * q_token, there[:, None], 0.0)
            seen = tl.load(mask + other[None, :] * tokens, real[:, None] & there[None, :], 0)
            total = tl.load(sums + head * tokens + other, there, 0.0)
            score = tl.dot(k, tl.trans(q)) * factor
            weight = tl.where(seen != 0, tl.exp2(score - total[None, :]), 0.0)
            g = tl.load(grad + head * g_head + other[:, None] * g_token, there[:, None], 0.0)
            of_value += tl.dot(weight.to(g.dtype), g)
            mean = tl.load(along + head * tokens + other, there, 0.0)
            slope = weight * (tl.dot(v, tl.trans(g)) - mean[None, :])
            of_key += tl.dot(slope.to(q.dtype), q)
    target = ((row * kv_heads + kv_head) * tokens + at[:, None]) * WIDTH + column[None, :]
    tl.store(grad_key + target, of_key * scale, real[:, None])
    tl.store(grad_value + target, of_value, real[:, None])


@triton.jit
def _queries_back(
    query, key, value, grad, mask, firsts, counts, sums, along, grad_query, tokens, factor, scale, q_row, q_head,
    q_token, k_row, k_head, k_token, v_row, v_head, v_token, m_row, g_row, g_head, g_token, HEADS: tl.constexpr,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    part, blocks = tl.program_id(0), tl.num_programs(0)
    row, head = (tl.program_id(1) // HEADS).to(tl.int64), tl.program_id(1) % HEADS
    column, member = tl.arange(0, WIDTH), tl.arange(0, BLOCK)
    at = part * BLOCK + member
    real = at < tokens
    q = tl.load(query + row * q_row + head * q_head + at[:, None] * q_token + column[None, :], real[:, None], 0.0)
    g = tl.load(grad + row * g_row + head * g_head + at[:, None] * g_token + column[None, :], real[:, None], 0.0)
    place = (row * HEADS + head) * tokens + at
    total, mean = tl.load(sums + place, real, 0.0), tl.load(along + place, real, 0.0)
    key += row * k_row + (head // GROUP) * k_head + column[None, :]
    value += row * v_row + (head // GROUP) * v_head + column[None, :]
    mask += row * m_row + at[:, None] * tokens
    start = tl.load(firsts + row * blocks + part)
    of_query = tl.zeros([BLOCK, WIDTH], tl.float32)
    end = start + tl.load(counts + row * blocks + part)
    for number in range(start, end):
        other = number * BLOCK + member
        there = other < tokens
        k = tl.load(key + other[:, None] * k_token, there[:, None], 0.0)
        v = tl.load(value + other[:, None] * v_token, there[:, None], 0.0)
        seen = tl.load(mask + other[None, :], real[:, None] & there[None, :], 0)
        weight = tl.where(seen != 0, tl.exp2(tl.dot(q, tl.trans(k)) * factor - total[:, None]), 0.0)
        slope = weight * (tl.dot(g, tl.trans(v)) - mean[:, None])
        of_query += tl.dot(slope.to(k.dtype), k)
    tl.store(grad_query + place[:, None] * WIDTH + column[None, :], of_query * scale, real[:, None])


class MaskedAttention(torch.autograd.Function):
    """`softmax(scale · q kᵀ) v` over the keys that each query sees, heads put together: (rows, tokens, heads × width).

    Queries are (rows, heads, tokens, width), keys and values have as many heads or fewer; widths are powers of two.
    Each query sees a key. `columns` are left beside the values of a token, for what a product adds.
    """

    @staticmethod
    def forward(ctx, query, key, value, seen, scale, columns=0):
        rows, heads, tokens, width = query.shape
        query, key, value = (each if each.stride(3) == 1 else each.contiguous() for each in (query, key, value))
        size = heads * width
        out = query.new_empty(rows, tokens, size + columns)[..., :size]
        sums = torch.empty(rows, heads, tokens, dtype=torch.float32, device=query.device)
        blocks = seen.keys.shape[1]
        _forward[(blocks, rows * heads)](
            query, key, value, seen.mask, seen.keys, seen.key_counts, out, sums, tokens, scale * 1.4426950408889634,
            *query.stride()[:3], *key.stride()[:3], *value.stride()[:3], seen.mask.stride(0), out.stride(0),
            out.stride(1), heads, heads // key.shape[1], width, BLOCK, NOTHING, **FORWARD,
        )  # fmt: skip
        ctx.save_for_backward(query, key, value, sums)
        ctx.out = out.detach()  # not saved as the others: a product writes beside it
        ctx.seen, ctx.scale = seen, scale
        return out

    @staticmethod
    def backward(ctx, grad):
        query, key, value, sums = ctx.saved_tensors
        out, seen, scale = ctx.out, ctx.seen, ctx.scale
        rows, heads, tokens, width = query.shape
        grad = grad.unflatten(2, (heads, width)).transpose(1, 2)
        kv_heads, blocks, factor = key.shape[1], seen.keys.shape[1], scale * 1.4426950408889634
        along = torch.empty_like(sums)
        _along[(rows * tokens,)](
            out, grad, along, tokens, out.stride(0), out.stride(1), *grad.stride()[:3], heads, width, num_warps=4
        )
        grad_query = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        grad_key, grad_value = torch.empty_like(grad_query[:, :kv_heads]), torch.empty_like(grad_query[:, :kv_heads])
        steps = (
            *query.stride()[:3], *key.stride()[:3], *value.stride()[:3], seen.mask.stride(0), *grad.stride()[:3],
            heads, heads // kv_heads, width, BLOCK,
        )  # fmt: skip
        _keys_back[(blocks, rows * kv_heads)](
            query, key, value, grad, seen.mask, seen.queries, seen.query_counts, sums, along, grad_key, grad_value,
            tokens, factor, scale, *steps, **KEYS_BACK,
        )  # fmt: skip
        _queries_back[(blocks, rows * heads)](
            query, key, value, grad, seen.mask, seen.keys, seen.key_counts, sums, along, grad_query, tokens, factor,
            scale, *steps, **QUERIES_BACK,
        )  # fmt: skip
        return grad_query, grad_key, grad_value, None, None, None
