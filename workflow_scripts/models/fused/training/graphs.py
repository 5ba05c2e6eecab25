"""A stack of layers as CUDA graphs, one forward and one backward for each shape: one launch instead of thousands.

A step of 34 layers launches five thousand kernels; on a slow processor that takes longer than computing them. A graph
holds its shape's states for the backward pass in memory of its own, which all graphs share: one runs at a time.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

TOKENS = 16
"""Shapes have a multiple of this many tokens."""

MOST = 24
"""Graphs at most; a batch of another shape is then filled up to one of those."""

SPARE = 1.04
"""A batch is filled up to a captured shape, rather than captured itself, where that has at most this many times its
tokens."""


class Step(NamedTuple):
    """What a step's layers share besides their states, by the type of their attention."""

    rotations: dict[str, tuple[torch.Tensor, torch.Tensor]]  # cos and sin, (rows, tokens, width)
    masks: dict[str, torch.Tensor | None]  # (rows, 1, tokens, tokens); None: causal


States = tuple[torch.Tensor, ...]
Key = tuple[int, int, tuple[bool, ...]]


class Captured(NamedTuple):
    """Graphs of one shape, and the tensors that they read and write."""

    forward: torch.cuda.CUDAGraph
    backward: torch.cuda.CUDAGraph
    states: torch.Tensor
    step: Step
    outputs: States
    output_gradients: States


class GraphedStack:
    """Runs layers on states (rows, tokens, size) that need no gradient themselves.

    The first batch runs without a graph, so that all kernels are compiled; a shape is captured when it first comes
    after that. A backward pass belongs to the last forward pass.

    Args:
        run: takes states and what the layers share; returns states of the same shape.
        count: how many of these it returns.
        parameters: that are to have gradients.
    """

    def __init__(
        self, run: Callable[[torch.Tensor, Step], States], count: int, parameters: Sequence[torch.Tensor]
    ) -> None:
        self.run, self.parameters, self._count = run, list(parameters), count
        self.gradients: list[torch.Tensor] = []
        self.passes = 0
        self._graphs: dict[Key, Captured] = {}
        self._buffers: dict[str, torch.Tensor] = {}
        self._addresses: list[int] = []
        self._pool: tuple[int, int] | None = None
        self._warm = False

    def __call__(self, states: torch.Tensor, step: Step) -> States:
        """`run`, by a graph; with several processes without one, since gradients are exchanged while they come."""
        if not self._warm or (torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1):
            self._warm = True
            return self.run(states, step)
        addresses = [parameter.data_ptr() for parameter in self.parameters]
        if addresses != self._addresses:  # graphs know tensors by their place in memory
            self.release()
            self._addresses = addresses
            self.gradients = [torch.zeros_like(parameter) for parameter in self.parameters]
        return _Replay.apply(self, self._graph_for(states, step), states, step, *self.parameters)

    def release(self) -> None:
        """Drop all graphs and give their memory back."""
        self._graphs.clear()
        self._buffers.clear()
        self._pool = None
        torch.cuda.empty_cache()

    def _graph_for(self, states: torch.Tensor, step: Step) -> Captured:
        """The graph whose shape is least beyond that of the states, captured now where there is none near it."""
        rows, tokens = states.shape[:2]
        masked = tuple(mask is not None for mask in step.masks.values())
        fits = [key for key in self._graphs if key[0] >= rows and key[1] >= tokens and key[2] == masked]
        best = min(fits, key=lambda key: key[0] * key[1], default=None)
        full = len(self._graphs) >= MOST
        if best is not None and (full or best[0] * best[1] <= SPARE * rows * tokens):
            return self._graphs[best]
        if full:
            self.release()
        key = rows, -(-tokens // TOKENS) * TOKENS, masked
        try:
            self._graphs[key] = self._capture(key, states, step)
        except RuntimeError as error:
            # A capture that fails may fail once more where it ends.
            short = next(
                (each for each in (error, error.__context__) if isinstance(each, torch.OutOfMemoryError)), None
            )
            if not self._graphs or short is None:
                raise (short or error) from None
            self.release()
            self._graphs[key] = self._capture(key, states, step)
        return self._graphs[key]

    def _capture(self, key: Key, states: torch.Tensor, step: Step) -> Captured:
        rows, tokens, _ = key
        if self._pool is None:
            torch.cuda.empty_cache()  # of the batch before
            self._pool = torch.cuda.graph_pool_handle()
        size = (rows, tokens, states.shape[2])
        own = self._buffer("states", size, states.dtype)
        rotations = {
            kind: tuple(
                self._buffer(f"{kind} {name}", (rows, tokens, part.shape[2]), part.dtype)
                for name, part in zip(("cos", "sin"), parts, strict=True)
            )
            for kind, parts in step.rotations.items()
        }
        masks = {
            kind: None if mask is None else self._buffer(f"{kind} mask", (rows, 1, tokens, tokens), mask.dtype)
            for kind, mask in step.masks.items()
        }
        shared = Step(rotations, masks)  # type: ignore[arg-type]
        fill(own, shared, states, step)
        outputs = tuple(self._buffer(f"output {number}", size, states.dtype) for number in range(self._count))
        gradients = tuple(self._buffer(f"gradient {number}", size, states.dtype) for number in range(self._count))
        forward, backward = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        # Relaxed: threads that load data may pin memory meanwhile.
        with torch.enable_grad():
            with torch.cuda.graph(forward, pool=self._pool, capture_error_mode="relaxed"):
                results = self.run(own, shared)
                for output, result in zip(outputs, results, strict=True):
                    output.copy_(result.detach())
            with torch.cuda.graph(backward, pool=self._pool, capture_error_mode="relaxed"):
                of_parameters = torch.autograd.grad(results, self.parameters, gradients)
                torch._foreach_copy_(self.gradients, list(of_parameters))
        return Captured(forward, backward, own, shared, outputs, gradients)

    def _buffer(self, name: str, size: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        """A tensor that all graphs share, as one runs at a time; zeros where it is new."""
        count = math.prod(size)
        buffer = self._buffers.get(name)
        if buffer is None or len(buffer) < count:
            buffer = self._buffers[name] = torch.zeros(count, dtype=dtype, device=self.parameters[0].device)
        return buffer[:count].view(size)


def _put(target: torch.Tensor, source: torch.Tensor) -> None:
    """Copy to the beginning of each dimension, zeros beyond."""
    if target.shape == source.shape:
        target.copy_(source)
        return
    target.zero_()
    target[tuple(slice(size) for size in source.shape)].copy_(source)


def fill(target: torch.Tensor, target_step: Step, states: torch.Tensor, step: Step) -> None:
    """Copy a batch to tensors of at least its shape; rows and tokens that are filled up attend to themselves alone."""
    rows, tokens = states.shape[:2]
    _put(target, states)
    for kind, parts in step.rotations.items():
        for of_target, part in zip(target_step.rotations[kind], parts, strict=True):
            _put(of_target, part)
    for kind, mask in step.masks.items():
        of_target = target_step.masks[kind]
        if mask is not None and of_target is not None:
            _put(of_target, mask.expand(rows, -1, -1, -1))
            if of_target.shape[0] != rows or of_target.shape[2] != tokens:
                diagonal = of_target.diagonal(dim1=2, dim2=3)
                diagonal[rows:] = True
                diagonal[..., tokens:] = True


class _Replay(torch.autograd.Function):
    @staticmethod
    def forward(ctx, stack, captured, states, step, *parameters):
        stack.passes += 1
        ctx.stack, ctx.captured, ctx.number = stack, captured, stack.passes
        fill(captured.states, captured.step, states, step)
        captured.forward.replay()
        rows, tokens = states.shape[:2]
        return tuple(output[:rows, :tokens] for output in captured.outputs)

    @staticmethod
    def backward(ctx, *gradients):
        if ctx.number != ctx.stack.passes:
            raise RuntimeError("a later forward pass has written over what this backward pass needs; keep their order")
        for target, gradient in zip(ctx.captured.output_gradients, gradients, strict=True):
            _put(target, gradient)
        ctx.captured.backward.replay()
        # Copies, since the next step writes over these.
        return None, None, None, None, *torch._foreach_mul(ctx.stack.gradients, 1.0)
