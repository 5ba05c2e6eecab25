"""Work on files of others in processes of their own: one that dies takes its task along, and nothing else."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from workflow_scripts.core.command import end_with_parent

Result = TypeVar("Result")

AHEAD = 2
"""Tasks a process that are given out before their results are taken: results of images are large."""


def each_apart(function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], jobs: int) -> Iterator[Result | None]:
    """`function(*task)` of each task, in their order; None where its process died, as of damaged bytes."""
    pool = _pool(jobs)
    waiting: deque[tuple[tuple[Any, ...], Future[Result]]] = deque()

    def result_of_first() -> Result | None:
        nonlocal pool, waiting
        task, future = waiting.popleft()
        try:
            return future.result()
        except BrokenProcessPool:  # this task or one beside it: it is tried again alone
            pool.shutdown(cancel_futures=True)
            pool = _pool(jobs)
            waiting = deque((other, pool.submit(function, *other)) for other, _ in waiting)
            with _pool(1) as alone:
                try:
                    return alone.submit(function, *task).result()
                except BrokenProcessPool:
                    return None

    try:
        for task in tasks:
            try:
                waiting.append((task, pool.submit(function, *task)))
            except BrokenProcessPool:
                pool.shutdown(cancel_futures=True)
                pool = _pool(jobs)
                waiting = deque((other, pool.submit(function, *other)) for other, _ in waiting)
                waiting.append((task, pool.submit(function, *task)))
            if len(waiting) > AHEAD * jobs:
                yield result_of_first()
        while waiting:
            yield result_of_first()
    finally:
        pool.shutdown(cancel_futures=True)


def _pool(jobs: int) -> ProcessPoolExecutor:
    """Processes that are forked from one that has imported what they need and runs no threads."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["workflow_scripts.data.dicom.images"])
    return ProcessPoolExecutor(jobs, context, end_with_parent)
