"""Attention between all patches of an image, for heads that are no power of two wide, on a Hopper.

A kernel takes tensors of powers of two: a head of 72 would be computed as one of 128. Here it is parted into 64 columns
and a tail of 16, of which 8 are its own, so that scores cost 80 columns instead of 128, and sums of values too. Columns
of the tails that are no head's: the keys' are zero, so that the query's, which are its neighbour's, do not count; the
first of the values' is one, so that its sum is the softmax's denominator.

Softmax in one pass over the keys. Scores are taken relative to the greatest of a query's first 128: the quotient does
not depend on what they are relative to, and an exponent of 8 bits holds all that counts, unless a later score is some
2¹⁰⁰ times as heavy. Kernels notice that, and `running` computes with the greatest score so far instead (Milakov and
Gimelshein, "Online normalizer calculation for softmax", 2018), which takes a quarter longer. One warp loads, two groups
of four warps compute 64 queries each; a group's softmax runs beside its own products with values and beside the other
group's products, whose turns alternate: Shah et al., "FlashAttention-3", 2024.
"""

import math
from typing import NamedTuple

import torch
import triton
import triton.experimental.gluon.language as gl
from triton.experimental import gluon
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

ROWS = gl.constexpr(64)
"""Queries of a group of warps."""

KEYS = gl.constexpr(128)
"""Keys of a step."""

STAGES = gl.constexpr(2)
"""Steps whose keys and values are in shared memory."""

TILE = 128
"""An image's patches are a multiple of this: of the queries of both groups, and of the keys of a step."""

LARGEST = gl.constexpr(2.0**100)
"""Of a sum of weights: products with values still fit."""

_load = tma.async_load if hasattr(tma, "async_load") else tma.async_copy_global_to_shared  # renamed after Triton 3.6


class Parts(NamedTuple):
    """How the columns of a head are parted, see above."""

    head: int  # columns of a head
    main: int  # the largest power of two among them
    tail: int  # columns beside those, of which head - main are the head's

    @property
    def own(self) -> int:
        """Columns of the tail that are the head's."""
        return self.head - self.main


def parts_of(head: int) -> Parts:
    """The parts of heads that are `head` columns wide, a multiple of 8 from 16 on."""
    main = 1 << (head.bit_length() - 1)
    return Parts(head, main, max(16, triton.next_power_of_2(head - main + 1)))


def joined(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, parts: Parts, one: float) -> torch.Tensor:
    """What gives queries, keys and values, as weights or as a bias, in the order of columns that `attend` wants.

    That is: the main parts of all heads' queries, keys and values; the tails of queries; those of keys and values, each
    with the columns beyond the head's own. Parts begin where memory is read in whole lines.

    Args:
        query, key, value: (heads × head, …) each.
        one: what gives the one beside a head's values: 0 in weights, 1 in a bias.

    Returns:
        (columns, …).
    """
    heads = [x.reshape(-1, parts.head, *x.shape[1:]) for x in (query, key, value)]
    beyond = query.new_zeros(len(heads[0]), parts.tail - parts.own, *query.shape[1:])
    with_one = beyond.clone()
    with_one[:, 0] = one
    tails = [torch.cat([heads[2][:, parts.main :], with_one], 1)]
    if parts.own:
        tails = [heads[0][:, parts.main :], torch.cat([heads[1][:, parts.main :], beyond], 1), *tails]
    return torch.cat([x.flatten(0, 1) for x in [*(each[:, : parts.main] for each in heads), *tails]])


def parted(product: torch.Tensor, heads: int, parts: Parts) -> list[torch.Tensor]:
    """Queries, keys and values, (rows, heads, head) each, of (rows, columns) in the order of `joined`."""
    widths = [parts.main] * 3 + ([parts.own, parts.tail] if parts.own else []) + [parts.tail]
    pieces = [x.unflatten(1, (heads, -1)) for x in product.split([heads * width for width in widths], 1)]
    tails = pieces[3:] if parts.own else [pieces[3]] * 3
    return [torch.cat([main, tail[..., : parts.own]], 2) for main, tail in zip(pieces[:3], tails, strict=True)]


@gluon.jit
def _place(tile, PATCHES: gl.constexpr, HEADS: gl.constexpr):
    """Head, first row of the image, first row of the queries of a tile."""
    BLOCKS: gl.constexpr = PATCHES // (2 * ROWS)
    start = tile // (BLOCKS * HEADS) * PATCHES
    return (tile // BLOCKS) % HEADS, start, start + tile % BLOCKS * (2 * ROWS)


@gluon.jit
def _produce(
    views, buffers, barriers, tiles, PATCHES: gl.constexpr, HEADS: gl.constexpr, HEAD: gl.constexpr,
    MAIN: gl.constexpr, TAIL: gl.constexpr,
):  # fmt: skip
    """Load queries of a tile once, then keys and values step by step, as soon as buffers are empty."""
    OWN: gl.constexpr = HEAD - MAIN
    KEY: gl.constexpr = HEADS * MAIN
    QUERY_TAIL: gl.constexpr = 3 * KEY
    KEY_TAIL: gl.constexpr = QUERY_TAIL + HEADS * OWN
    VALUE_TAIL: gl.constexpr = QUERY_TAIL if OWN == 0 else KEY_TAIL + HEADS * TAIL
    query_view, query_tail_view, view, tail_view = views
    query, query_tail, key, key_tail, value, value_tail = buffers
    query_full, query_empty, key_full, key_empty, value_full, value_empty, _ = barriers
    step = 0
    turn = 0
    for tile in range(gl.program_id(0), tiles, gl.num_programs(0)):
        head, start, first = _place(tile, PATCHES, HEADS)
        mbarrier.wait(query_empty, (turn & 1) ^ 1)
        mbarrier.expect(query_full, 2 * ROWS * (MAIN + TAIL * (OWN > 0)) * 2)
        for group in gl.static_range(2):
            row = first + group * ROWS
            _load(query_view, [row, head * MAIN], query_full, query.index(group))
            if OWN > 0:
                _load(query_tail_view, [row, QUERY_TAIL + head * OWN], query_full, query_tail.index(group))
        turn += 1  # noqa: SIM113 (a kernel has no enumerate)
        for row in range(start, start + PATCHES, KEYS):
            stage = step % STAGES
            phase = (step // STAGES) & 1
            mbarrier.wait(key_empty.index(stage), phase ^ 1)
            mbarrier.expect(key_full.index(stage), KEYS * (MAIN + TAIL * (OWN > 0)) * 2)
            _load(view, [row, KEY + head * MAIN], key_full.index(stage), key.index(stage))
            if OWN > 0:
                _load(tail_view, [row, KEY_TAIL + head * TAIL], key_full.index(stage), key_tail.index(stage))
            mbarrier.wait(value_empty.index(stage), phase ^ 1)
            mbarrier.expect(value_full.index(stage), KEYS * (MAIN + TAIL) * 2)
            _load(view, [row, 2 * KEY + head * MAIN], value_full.index(stage), value.index(stage))
            _load(tail_view, [row, VALUE_TAIL + head * TAIL], value_full.index(stage), value_tail.index(stage))
            step += 1


@gluon.jit
def _scores(query, query_tail, key, key_tail, HAS_TAIL: gl.constexpr, LAYOUT: gl.constexpr):
    """(queries, keys); not awaited."""
    scores = gl.zeros([ROWS, KEYS], gl.float32, LAYOUT)
    scores = warpgroup_mma(query, key.permute((1, 0)), scores, use_acc=False, is_async=True)
    if HAS_TAIL:
        scores = warpgroup_mma(query_tail, key_tail.permute((1, 0)), scores, is_async=True)
    return scores


@gluon.jit
def _consume(
    out, risen, scale, buffers, barriers, tiles, GROUP: gl.constexpr, RUNNING: gl.constexpr, PATCHES: gl.constexpr,
    HEADS: gl.constexpr, HEAD: gl.constexpr, MAIN: gl.constexpr, TAIL: gl.constexpr,
):  # fmt: skip
    """Compute the queries of one group of warps."""
    OWN: gl.constexpr = HEAD - MAIN
    LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, KEYS, 16])
    MAIN_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, MAIN, 16])
    TAIL_LAYOUT: gl.constexpr = gl.NVMMADistributedLayout([3, 0], [4, 1], [16, TAIL, 16])
    MAIN_ROWS: gl.constexpr = gl.SliceLayout(1, MAIN_LAYOUT)
    TAIL_ROWS: gl.constexpr = gl.SliceLayout(1, TAIL_LAYOUT)
    queries, query_tails, key, key_tail, value, value_tail = buffers
    query_full, query_empty, key_full, key_empty, value_full, value_empty, order = barriers
    query = queries.index(GROUP)
    query_tail = query_tails.index(GROUP)
    step = 0
    turn = 0
    count = 0
    for tile in range(gl.program_id(0), tiles, gl.num_programs(0)):
        mbarrier.wait(query_full, turn & 1)
        stage = step % STAGES
        mbarrier.wait(key_full.index(stage), (step // STAGES) & 1)
        scores = _scores(query, query_tail, key.index(stage), key_tail.index(stage), OWN > 0, LAYOUT)
        scores = warpgroup_mma_wait(0, deps=[scores])
        mbarrier.arrive(key_empty.index(stage))
        top = gl.max(scores, 1) * scale
        weights = gl.exp2(scores * scale - top[:, None]).to(gl.bfloat16)
        main = gl.zeros([ROWS, MAIN], gl.float32, MAIN_LAYOUT)
        tail = gl.zeros([ROWS, TAIL], gl.float32, TAIL_LAYOUT)
        for _ in range(1, PATCHES // KEYS):
            before = stage
            before_phase = (step // STAGES) & 1
            step += 1
            stage = step % STAGES
            mbarrier.wait(key_full.index(stage), (step // STAGES) & 1)
            mbarrier.wait(order.index(GROUP), (count & 1) ^ (1 - GROUP))  # the first group begins
            scores = _scores(query, query_tail, key.index(stage), key_tail.index(stage), OWN > 0, LAYOUT)
            mbarrier.wait(value_full.index(before), before_phase)
            for_main = gl.convert_layout(weights, gl.DotOperandLayout(0, MAIN_LAYOUT, 2))
            for_tail = gl.convert_layout(weights, gl.DotOperandLayout(0, TAIL_LAYOUT, 2))
            main = warpgroup_mma(for_main, value.index(before), main, is_async=True)
            tail = warpgroup_mma(for_tail, value_tail.index(before), tail, is_async=True)
            mbarrier.arrive(order.index(1 - GROUP))
            count += 1
            scores = warpgroup_mma_wait(2, deps=[scores])
            mbarrier.arrive(key_empty.index(stage))
            before_top = top
            if RUNNING:
                top = gl.maximum(top, gl.max(scores, 1) * scale)
            weight = gl.exp2(scores * scale - top[:, None])
            main, tail, for_main, for_tail = warpgroup_mma_wait(0, deps=[main, tail, for_main, for_tail])
            mbarrier.arrive(value_empty.index(before))
            if RUNNING:
                shrink = gl.exp2(before_top - top)
                main = main * gl.convert_layout(shrink, MAIN_ROWS)[:, None]
                tail = tail * gl.convert_layout(shrink, TAIL_ROWS)[:, None]
            weights = weight.to(gl.bfloat16)
        mbarrier.arrive(query_empty)
        mbarrier.wait(value_full.index(stage), (step // STAGES) & 1)
        for_main = gl.convert_layout(weights, gl.DotOperandLayout(0, MAIN_LAYOUT, 2))
        for_tail = gl.convert_layout(weights, gl.DotOperandLayout(0, TAIL_LAYOUT, 2))
        main = warpgroup_mma(for_main, value.index(stage), main, is_async=True)
        tail = warpgroup_mma(for_tail, value_tail.index(stage), tail, is_async=True)
        main, tail, for_main, for_tail = warpgroup_mma_wait(0, deps=[main, tail, for_main, for_tail])
        mbarrier.arrive(value_empty.index(stage))
        step += 1
        turn += 1  # noqa: SIM113 (a kernel has no enumerate)
        head, _, first = _place(tile, PATCHES, HEADS)
        target = out + (first + GROUP * ROWS).to(gl.int64) * (HEADS * HEAD) + head * HEAD
        place = gl.arange(0, TAIL, gl.SliceLayout(0, TAIL_LAYOUT))[None, :]
        total = gl.sum(gl.where(place == OWN, tail, 0.0), 1)
        gl.store(risen, 1, mask=gl.max(gl.where(total <= LARGEST, 0, 1), 0) > 0)
        column = gl.arange(0, MAIN, gl.SliceLayout(0, MAIN_LAYOUT))[None, :]
        row = gl.arange(0, ROWS, MAIN_ROWS)[:, None]
        main = main / gl.convert_layout(total, MAIN_ROWS)[:, None]
        gl.store(target + row * (HEADS * HEAD) + column, main.to(gl.bfloat16))
        if OWN > 0:
            row = gl.arange(0, ROWS, TAIL_ROWS)[:, None]
            inside = (place < OWN) & (row < ROWS)
            tail = tail / total[:, None]
            gl.store(target + row * (HEADS * HEAD) + MAIN + place, tail.to(gl.bfloat16), mask=inside)


@gluon.jit
def _attend(
    query_view, query_tail_view, view, tail_view, out, risen, scale, tiles, RUNNING: gl.constexpr,
    PATCHES: gl.constexpr, HEADS: gl.constexpr, HEAD: gl.constexpr, MAIN: gl.constexpr, TAIL: gl.constexpr,
):  # fmt: skip
    query = gl.allocate_shared_memory(gl.bfloat16, [2, ROWS, MAIN], query_view.layout)
    query_tail = gl.allocate_shared_memory(gl.bfloat16, [2, ROWS, TAIL], query_tail_view.layout)
    key = gl.allocate_shared_memory(gl.bfloat16, [STAGES, KEYS, MAIN], view.layout)
    key_tail = gl.allocate_shared_memory(gl.bfloat16, [STAGES, KEYS, TAIL], tail_view.layout)
    value = gl.allocate_shared_memory(gl.bfloat16, [STAGES, KEYS, MAIN], view.layout)
    value_tail = gl.allocate_shared_memory(gl.bfloat16, [STAGES, KEYS, TAIL], tail_view.layout)
    query_full = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    query_empty = gl.allocate_shared_memory(gl.int64, [1], mbarrier.MBarrierLayout())
    key_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    key_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    value_full = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    value_empty = gl.allocate_shared_memory(gl.int64, [STAGES, 1], mbarrier.MBarrierLayout())
    order = gl.allocate_shared_memory(gl.int64, [2, 1], mbarrier.MBarrierLayout())
    mbarrier.init(query_full, 1)
    mbarrier.init(query_empty, 2)
    for i in gl.static_range(STAGES):
        mbarrier.init(key_full.index(i), 1)
        mbarrier.init(key_empty.index(i), 2)
        mbarrier.init(value_full.index(i), 1)
        mbarrier.init(value_empty.index(i), 2)
    for i in gl.static_range(2):
        mbarrier.init(order.index(i), 1)
    fence_async_shared()
    FIRST: gl.constexpr = 0
    SECOND: gl.constexpr = 1
    views = (query_view, query_tail_view, view, tail_view)
    buffers = (query, query_tail, key, key_tail, value, value_tail)
    barriers = (query_full, query_empty, key_full, key_empty, value_full, value_empty, order)
    gl.warp_specialize(
        [
            (_consume, (out, risen, scale, buffers, barriers, tiles, FIRST, RUNNING, PATCHES, HEADS, HEAD, MAIN, TAIL)),
            (
                _consume,
                (out, risen, scale, buffers, barriers, tiles, SECOND, RUNNING, PATCHES, HEADS, HEAD, MAIN, TAIL),
            ),
            (_produce, (views, buffers, barriers, tiles, PATCHES, HEADS, HEAD, MAIN, TAIL)),
        ],
        [4, 1],
        [240, 24],
    )


def attend(
    product: torch.Tensor, images: int, heads: int, parts: Parts, risen: torch.Tensor, *, running: bool = False
) -> torch.Tensor:
    """`softmax(q kᵀ / √head) v` of every image and head: (images × patches, heads × head).

    On a CPU the library computes the same, so that tests can compare.

    Args:
        product: queries, keys and values of all patches, (images × patches, columns) in the order of `joined`,
            contiguous; bfloat16 on a GPU.
        images: how many; their number of patches is a multiple of `TILE`.
        risen: one integer, which becomes 1 where scores rise too far, so that the result is of no use; see above.
        running: compute with the greatest scores so far.
    """
    patches = len(product) // images
    if not product.is_cuda:
        each = [x.unflatten(0, (images, patches)).transpose(1, 2) for x in parted(product, heads, parts)]
        return torch.nn.functional.scaled_dot_product_attention(*each).transpose(1, 2).flatten(0, 1).flatten(1)
    out = product.new_empty(len(product), heads * parts.head)

    def view(rows: gl.constexpr, columns: int) -> TensorDescriptor:
        shape = [rows.value, columns]
        return TensorDescriptor.from_tensor(product, shape, gl.NVMMASharedLayout.get_default_for(shape, gl.bfloat16))

    tiles = images * heads * patches // TILE
    programs = torch.cuda.get_device_properties(product.device).multi_processor_count
    _attend[(min(tiles, programs),)](
        view(ROWS, parts.main), view(ROWS, parts.tail), view(KEYS, parts.main), view(KEYS, parts.tail), out,
        risen, math.log2(math.e) * parts.head**-0.5, tiles, running, patches, heads, parts.head, parts.main, parts.tail,
        num_warps=4,
    )  # fmt: skip
    return out
