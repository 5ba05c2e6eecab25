"""Processes that share a list of tasks: started once, used by several stages of one step."""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

Result = TypeVar("Result")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


class ProcessPool:
    """`jobs` processes, or this one alone where `jobs` is 1.

    They are spawned: a fork of a process whose libraries run threads may hang.
    """

    def __init__(self, jobs: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(jobs, mp_context=context) if jobs > 1 else None

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
            self._pool.submit(cores)

    def each(self, function: Callable[..., Result], tasks: Sequence[tuple]) -> Iterator[Result]:
        """`function(*task)` of each task, in their order; raises what a task raises."""
        if self._pool is None:
            return (function(*task) for task in tasks)
        return self._pool.map(function, *zip(*tasks, strict=True)) if tasks else iter(())
