"""Workers of a step end with it, however it ends: none waits for tasks for ever, with its memory or its GPU."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from workflow_scripts import PACKAGE, ROOT

STEP = """
import os, sys, time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from workflow_scripts.core.command import end_with_parent

def task(number):
    time.sleep(.2)
    return os.getpid()

if __name__ == "__main__":
    pool = ProcessPoolExecutor(2, get_context(sys.argv[1]), end_with_parent)
    print(*set(pool.map(task, range(4))), flush=True)
    if len(sys.argv) > 2:
        pool.map(time.sleep, [60] * 4)
    time.sleep(60)
"""


def running(process: int) -> bool:
    """Whether it runs; one that ended and was not waited for does not."""
    try:
        os.kill(process, 0)
        with open(f"/proc/{process}/stat") as stream:  # noqa: PTH123
            return stream.read().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@pytest.mark.parametrize("busy", [[], ["busy"]], ids=["idle", "busy"])
@pytest.mark.parametrize("start", ["spawn", "fork", "forkserver"])
def test_workers_end_with_a_step_that_is_killed(tmp_path, start, busy, end):
    script = tmp_path / "step.py"
    script.write_text(STEP)
    command = [sys.executable, str(script), start, *busy]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    ) as step:
        workers = [int(number) for number in step.stdout.readline().split()]
        assert workers and all(map(running, workers))
        step.send_signal(end)
        step.wait()
        until = time.monotonic() + 20
        while any(map(running, workers)) and time.monotonic() < until:
            time.sleep(0.05)
    left = [number for number in workers if running(number)]
    for number in left:
        os.kill(number, signal.SIGKILL)
    assert not left


def test_every_pool_of_workers_has_them_end_with_the_step():
    pools = {}
    for path in (ROOT / PACKAGE).rglob("*.py"):
        text = path.read_text()
        if re.search(r"ProcessPoolExecutor\(", text):
            pools[str(path.relative_to(ROOT))] = "end_with_parent" in text
    assert pools and all(pools.values()), pools
