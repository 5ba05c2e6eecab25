"""Processes that share a list of tasks: started once, used by several stages of one step."""

import gc
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from workflow_scripts.core.command import end_with_parent, spare_pandas

Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _begin() -> None:
    """Spare a process what `run_step` spares this one, and the search for cycles in all that it has imported."""
    end_with_parent()
    spare_pandas()
    gc.freeze()
    gc.enable()  # a step may do without, and a fork of it would: of images that Pillow decodes some hold themselves


class ProcessPool:
    """`jobs` processes, or this one alone where `jobs` is 1.

    They are spawned, since a fork of a process whose libraries run threads may hang. A step that has done nothing yet
    but import its libraries may have them forked at once (on Linux): each then has what it needs, where importing it
    takes half a second.
    """

    def __init__(self, jobs: int, *, forked: bool = False) -> None:
        forked = forked and sys.platform == "linux"
        context = multiprocessing.get_context("fork" if forked else "spawn")
        self._pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin) if jobs > 1 else None
        if forked and self._pool is not None:
            self._pool.submit(cores)  # the first task forks all processes, before any thread is started

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def submit(self, function: Callable[..., Result], *task: object) -> Callable[[], Result]:
        """What gives `function(*task)`, which is computed as soon as a process is free, or by this one when asked."""
        return partial(function, *task) if self._pool is None else self._pool.submit(function, *task).result

    def each(self, function: Callable[..., Result], tasks: Sequence[tuple]) -> Iterator[Result]:
        """`function(*task)` of each task, in their order; raises what a task raises."""
        if self._pool is None:
            return (function(*task) for task in tasks)
        return self._pool.map(function, *zip(*tasks, strict=True)) if tasks else iter(())
