"""Attention under a mask, forward and backward, that leaves out blocks where no key may be seen.

A prompt with an image is causal but for the image's tokens, which see each other: half of the blocks of the mask are
empty. The library's kernel with a mask computes those too, and reads the mask as numbers to add.
"""

from typing import NamedTuple

import torch
import triton
import triton.language as tl

BLOCK = 64
"""Queries, and keys, of a block; a word of 64 bits says which keys of a block a query sees."""

FORWARD = {"STEP": 64, "num_warps": 8, "num_stages": 2}
KEYS_BACK = {"STEP": 64, "num_warps": 8, "num_stages": 1}
QUERIES_BACK = {"STEP": 32, "num_warps": 8, "num_stages": 3}
"""Keys, or queries, that a program takes at once: the fastest on an H100 where heads are 256 wide."""

NOTHING = -1e30
"""Stands for minus infinity: a difference of two is a number."""

SHARED, HEAD_BYTES = {2: 227 * 1024, 1: 160 * 1024}, 512
"""Bytes of shared memory that so many heads a program take with heads of so many bytes; in proportion with fewer."""


class SeenBlocks(NamedTuple):
    """A mask, and for each block of queries the range of blocks of keys that is seen, and the other way round."""

    words: torch.Tensor  # (rows, blocks × BLOCK, blocks): for each query the bits of the keys of each block
    full: torch.Tensor  # (rows, blocks, blocks), whether each query of a block sees each key of another
    keys: torch.Tensor  # (rows, blocks): the first block of keys that a block of queries sees
    key_counts: torch.Tensor  # (rows, blocks): blocks from there to the last
    queries: torch.Tensor
    query_counts: torch.Tensor


def seen_blocks(mask: torch.Tensor) -> SeenBlocks:
    """The ranges of blocks of a mask (rows, 1, tokens, tokens) that are not empty."""
    mask = mask[:, 0]
    rest = -mask.shape[1] % BLOCK
    bits = torch.nn.functional.pad(mask.to(torch.uint8), (0, rest, 0, rest))
    # By bytes, the lowest first, since a number of 64 bits for each pair of tokens would take eight times the memory.
    lifted = bits.unflatten(2, (-1, 8)) << torch.arange(8, dtype=torch.uint8, device=mask.device)
    words = lifted.sum(3, dtype=torch.uint8).view(torch.int64)
    bits = bits.unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK))
    blocks = bits.amax((2, 4))
    sides = []
    for side in (blocks, blocks.transpose(1, 2)):
        first, after = side.argmax(2), side.shape[2] - side.flip(2).argmax(2)
        sides += [first.int(), ((after - first) * side.amax(2)).int()]
    return SeenBlocks(words, bits.amin((2, 4)), *sides)


@triton.jit
def _power(x):
    """2 to the power of x, by the device's own approximation."""
    return tl.inline_asm_elementwise("ex2.approx.ftz.f32 $0, $1;", "=f,f", [x], tl.float32, True, 1)


@triton.jit
def _forward(
    query, key, value, words, firsts, counts, out, sums, tokens, factor, q_row, q_head, q_token, k_row, k_head, k_token,
    v_row, v_head, v_token, o_row, o_token, HEADS: tl.constexpr, GROUP: tl.constexpr, PAIR: tl.constexpr,
    WIDTH: tl.constexpr, BLOCK: tl.constexpr, NOTHING: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    part, blocks = tl.program_id(0), tl.num_programs(0)
    teams: tl.constexpr = HEADS // PAIR
    row, first = (tl.program_id(1) // teams).to(tl.int64), tl.program_id(1) % teams * PAIR
    column, member, line = tl.arange(0, WIDTH), tl.arange(0, STEP), tl.arange(0, PAIR * BLOCK)
    head, at = first + line // BLOCK, part * BLOCK + line % BLOCK
    real = at < tokens
    place = query + row * q_row + (head * q_head + at * q_token)[:, None] + column[None, :]
    q = tl.load(place, real[:, None], 0.0)
    key += row * k_row + (first // GROUP) * k_head + column[:, None]
    value += row * v_row + (first // GROUP) * v_head + column[None, :]
    words += (row * blocks * BLOCK + at) * blocks
    most = tl.full([PAIR * BLOCK], NOTHING, tl.float32)
    total = tl.zeros([PAIR * BLOCK], tl.float32)
    result = tl.zeros([PAIR * BLOCK, WIDTH], tl.float32)
    start = tl.load(firsts + row * blocks + part)
    end = start + tl.load(counts + row * blocks + part)
    for number in range(start * (BLOCK // STEP), end * (BLOCK // STEP)):
        other = number * STEP + member
        there = other < tokens
        k = tl.load(key + other[None, :] * k_token, there[None, :], 0.0)
        word = tl.load(words + number // (BLOCK // STEP)) >> (number % (BLOCK // STEP) * STEP)
        seen = (word[:, None] >> member[None, :]) & 1
        score = tl.where(seen != 0, tl.dot(q, k) * factor, NOTHING)
        larger = tl.maximum(most, tl.max(score, 1))
        weight = _power(score - larger[:, None])
        shrink = _power(most - larger)
        total = total * shrink + tl.sum(weight, 1)
        v = tl.load(value + other[:, None] * v_token, there[:, None], 0.0)
        result = tl.dot(weight.to(v.dtype), v, result * shrink[:, None])
        most = larger
    # Zeros for a query that sees nothing, as padding beyond a sliding window does; 0 / 0 would spread from there.
    result = result / tl.where(most == NOTHING, float("inf"), total)[:, None]
    tl.store(out + row * o_row + (at * o_token + head * WIDTH)[:, None] + column[None, :], result, real[:, None])
    tl.store(sums + (row * HEADS + head) * tokens + at, most + tl.log2(total), real)


@triton.jit
def _queries_back(
    query, key, value, grad, out, words, firsts, counts, sums, along, grad_query, tokens, factor, scale, q_row, q_head,
    q_token, k_row, k_head, k_token, v_row, v_head, v_token, g_row, g_head, g_token, o_row, o_token,
    HEADS: tl.constexpr, GROUP: tl.constexpr, PAIR: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,
    STEP: tl.constexpr,
):  # fmt: skip
    part, blocks = tl.program_id(0), tl.num_programs(0)
    teams: tl.constexpr = HEADS // PAIR
    row, first = (tl.program_id(1) // teams).to(tl.int64), tl.program_id(1) % teams * PAIR
    column, member, line = tl.arange(0, WIDTH), tl.arange(0, STEP), tl.arange(0, PAIR * BLOCK)
    head, at = first + line // BLOCK, part * BLOCK + line % BLOCK
    real = at < tokens
    g = tl.load(grad + row * g_row + (head * g_head + at * g_token)[:, None] + column[None, :], real[:, None], 0.0)
    o = tl.load(out + row * o_row + (at * o_token + head * WIDTH)[:, None] + column[None, :], real[:, None], 0.0)
    mean = tl.sum(o.to(tl.float32) * g.to(tl.float32), 1)
    place = (row * HEADS + head) * tokens + at
    tl.store(along + place, mean, real)
    q = tl.load(query + row * q_row + (head * q_head + at * q_token)[:, None] + column[None, :], real[:, None], 0.0)
    total = tl.load(sums + place, real, 0.0)
    key += row * k_row + (first // GROUP) * k_head + column[None, :]
    value += row * v_row + (first // GROUP) * v_head + column[None, :]
    words += (row * blocks * BLOCK + at) * blocks
    of_query = tl.zeros([PAIR * BLOCK, WIDTH], tl.float32)
    start = tl.load(firsts + row * blocks + part)
    end = start + tl.load(counts + row * blocks + part)
    for number in range(start * (BLOCK // STEP), end * (BLOCK // STEP)):
        other = number * STEP + member
        there = other < tokens
        k = tl.load(key + other[:, None] * k_token, there[:, None], 0.0)
        v = tl.load(value + other[:, None] * v_token, there[:, None], 0.0)
        word = tl.load(words + number // (BLOCK // STEP)) >> (number % (BLOCK // STEP) * STEP)
        seen = (word[:, None] >> member[None, :]) & 1
        weight = tl.where(seen != 0, _power(tl.dot(q, tl.trans(k)) * factor - total[:, None]), 0.0)
        slope = weight * (tl.dot(g, tl.trans(v)) - mean[:, None])
        of_query = tl.dot(slope.to(k.dtype), k, of_query)
    tl.store(grad_query + place[:, None] * WIDTH + column[None, :], of_query * scale, real[:, None])


@triton.jit
def _keys_back(
    query, key, value, grad, words, full, firsts, counts, sums, along, grad_key, grad_value, tokens, factor, scale,
    q_row, q_head, q_token, k_row, k_head, k_token, v_row, v_head, v_token, g_row, g_head, g_token, HEADS: tl.constexpr,
    GROUP: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr, STEP: tl.constexpr,
):  # fmt: skip
    part, blocks = tl.program_id(0), tl.num_programs(0)
    kv_heads: tl.constexpr = HEADS // GROUP
    row, kv_head = (tl.program_id(1) // kv_heads).to(tl.int64), tl.program_id(1) % kv_heads
    column, member, line = tl.arange(0, WIDTH), tl.arange(0, STEP), tl.arange(0, BLOCK)
    at = part * BLOCK + line
    real = at < tokens
    k = tl.load(key + row * k_row + kv_head * k_head + at[:, None] * k_token + column[None, :], real[:, None], 0.0)
    v = tl.load(value + row * v_row + kv_head * v_head + at[:, None] * v_token + column[None, :], real[:, None], 0.0)
    first = kv_head * GROUP
    query += row * q_row + first * q_head + column[None, :]
    grad += row * g_row + first * g_head + column[None, :]
    sums += (row * HEADS + first) * tokens
    along += (row * HEADS + first) * tokens
    words += row * blocks * BLOCK * blocks + part
    full += row * blocks * blocks + part
    start = tl.load(firsts + row * blocks + part)
    end = start + tl.load(counts + row * blocks + part)
    of_key = tl.zeros([BLOCK, WIDTH], tl.float32)
    of_value = tl.zeros([BLOCK, WIDTH], tl.float32)
    for head in range(GROUP):
        for number in range(start * (BLOCK // STEP), end * (BLOCK // STEP)):
            other = number * STEP + member
            there = other < tokens
            q = tl.load(query + head * q_head + other[:, None] * q_token, there[:, None], 0.0)
            g = tl.load(grad + head * g_head + other[:, None] * g_token, there[:, None], 0.0)
            total = tl.load(sums + head * tokens + other, there, 0.0)
            mean = tl.load(along + head * tokens + other, there, 0.0)
            weight = _power(tl.dot(k, tl.trans(q)) * factor - total[None, :])
            if tl.load(full + number // (BLOCK // STEP) * blocks) == 0:
                seen = (tl.load(words + other * blocks)[None, :] >> line[:, None]) & 1
                weight = tl.where(seen != 0, weight, 0.0)
            of_value = tl.dot(weight.to(g.dtype), g, of_value)
            slope = weight * (tl.dot(v, tl.trans(g)) - mean[None, :])
            of_key = tl.dot(slope.to(q.dtype), q, of_key)
    target = ((row * kv_heads + kv_head) * tokens + at[:, None]) * WIDTH + column[None, :]
    tl.store(grad_key + target, of_key * scale, real[:, None])
    tl.store(grad_value + target, of_value, real[:, None])


class MaskedAttention(torch.autograd.Function):
    """`softmax(scale · q kᵀ) v` over the keys that each query sees, heads put together: (rows, tokens, heads × width).

    Queries are (rows, heads, tokens, width), keys and values have as many heads or fewer; widths are powers of two.
    A query that sees no key gets zeros. `columns` are left beside the values of a token, for what a product adds.
    """

    @staticmethod
    def forward(ctx, query, key, value, seen, scale, columns=0):
        rows, heads, tokens, width = query.shape
        query, key, value = (each if each.stride(3) == 1 else each.contiguous() for each in (query, key, value))
        size = heads * width
        out = query.new_empty(rows, tokens, size + columns)[..., :size]
        sums = torch.empty(rows, heads, tokens, dtype=torch.float32, device=query.device)
        blocks, pair = seen.keys.shape[1], _paired(query, key)
        _forward[(blocks, rows * heads // pair)](
            query, key, value, seen.words, seen.keys, seen.key_counts, out, sums, tokens, scale * 1.4426950408889634,
            *query.stride()[:3], *key.stride()[:3], *value.stride()[:3], out.stride(0), out.stride(1), heads,
            heads // key.shape[1], pair, width, BLOCK, NOTHING, **FORWARD,
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
        along, pair = torch.empty_like(sums), _paired(query, key)
        grad_query = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        grad_key, grad_value = torch.empty_like(grad_query[:, :kv_heads]), torch.empty_like(grad_query[:, :kv_heads])
        steps = *query.stride()[:3], *key.stride()[:3], *value.stride()[:3], *grad.stride()[:3]
        _queries_back[(blocks, rows * heads // pair)](
            query, key, value, grad, out, seen.words, seen.keys, seen.key_counts, sums, along, grad_query, tokens,
            factor, scale, *steps, out.stride(0), out.stride(1), heads, heads // kv_heads, pair, width, BLOCK,
            **QUERIES_BACK,
        )  # fmt: skip
        _keys_back[(blocks, rows * kv_heads)](
            query, key, value, grad, seen.words, seen.full, seen.queries, seen.query_counts, sums, along, grad_key,
            grad_value, tokens, factor, scale, *steps, heads, heads // kv_heads, width, BLOCK, **KEYS_BACK,
        )  # fmt: skip
        return grad_query, grad_key, grad_value, None, None, None


def _paired(query: torch.Tensor, key: torch.Tensor) -> int:
    """How many heads of the same keys a program takes: two where they fit, so that keys are read half as often."""
    most = heads_that_fit(query.shape[3], query.dtype, shared_memory(query.device))
    return 2 if most == 2 and query.shape[1] // key.shape[1] % 2 == 0 else 1


def heads_that_fit(width: int, dtype: torch.dtype, memory: int) -> int:
    """How many heads of the same keys a program holds in `memory` bytes of shared memory: two, one, or none."""
    size = width * dtype.itemsize
    return next((heads for heads, most in SHARED.items() if size * most <= HEAD_BYTES * memory), 0)


def shared_memory(device: torch.device) -> int:
    """Bytes of shared memory that a program may take on a GPU: 227 KiB of an H100, 163 KiB of an A100."""
    size: int = torch.cuda.get_device_properties(device).shared_memory_per_block_optin
    return size
