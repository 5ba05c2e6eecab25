"""Processes that share a list of tasks: started once, used by several stages of one step."""

import gc
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from workflow_scripts.core.command import spare_pandas

Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _begin() -> None:
    """Spare a process what `run_step` spares this one, and the search for cycles in all that it has imported."""
    spare_pandas()
    gc.freeze()


class ProcessPool:
    """`jobs` processes, or this one alone where `jobs` is 1.

    They are spawned: a fork of a process whose libraries run threads may hang.
    """

    def __init__(self, jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._jobs = jobs
        self._pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_begin) if jobs > 1 else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def start(self) -> None:
        """Start the processes now: they import what they need while this one does other work."""
        if self._pool is not None:
            for _ in range(self._jobs):  # each task that finds no idle process starts one
                self._pool.submit(cores)

    def submit(self, function: Callable[..., Result], *task: object) -> Callable[[], Result]:
        """What gives `function(*task)`, which is computed as soon as a process is free, or by this one when asked."""
        return partial(function, *task) if self._pool is None else self._pool.submit(function, *task).result

    def each(self, function: Callable[..., Result], tasks: Sequence[tuple]) -> Iterator[Result]:
        """`function(*task)` of each task, in their order; raises what a task raises."""
        if self._pool is None:
            return (function(*task) for task in tasks)
        return self._pool.map(function, *zip(*tasks, strict=True)) if tasks else iter(())
