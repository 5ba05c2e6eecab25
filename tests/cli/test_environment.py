"""Threads wait without spinning, however a step is started, so that a loaded machine slows steps in proportion."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest

from workflow_scripts import ROOT, WAITING
from workflow_scripts.cli.environment import use_this_interpreter


def clean():
    """This environment as a user's shell has it."""
    return {name: value for name, value in os.environ.items() if name not in WAITING}


def test_a_step_that_is_started_by_hand_lets_its_threads_sleep(tmp_path):
    """The variables are set before torch is imported, which reads them then."""
    program = (
        "import runpy, sys\n"
        "class Watch:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'torch':\n"
        "            import os\n"
        "            values = map(os.environ.get, ('OMP_WAIT_POLICY', 'KMP_BLOCKTIME'))\n"
        "            print('AT IMPORT', *values, flush=True)\n"
        "            os._exit(0)\n"
        "sys.meta_path.insert(0, Watch())\n"
        "sys.argv = ['step', '--help']\n"
        "runpy.run_module('workflow_scripts.train.tune', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=clean(), capture_output=True, text=True)
    assert "AT IMPORT PASSIVE 0" in done.stdout and done.returncode == 0, done.stderr[-1000:]


def test_what_the_user_set_stays(monkeypatch):
    environment = clean() | {"OMP_WAIT_POLICY": "ACTIVE"}
    program = "import os, workflow_scripts; print(os.environ['OMP_WAIT_POLICY'], os.environ['KMP_BLOCKTIME'])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["ACTIVE", "0"]
    for name in WAITING:
        monkeypatch.delenv(name, raising=False)
    use_this_interpreter(str(ROOT))
    assert {name: os.environ[name] for name in WAITING} == WAITING


def test_these_tests_let_their_threads_sleep():
    assert {name: os.environ.get(name) for name in WAITING} == WAITING


WORK = (
    "import time, {first}torch; torch.set_num_threads(2); x = torch.randn(64, 256)\n"
    "m = torch.nn.Sequential(*[torch.nn.Linear(256, 256) for _ in range(20)]); start = time.perf_counter()\n"
    "for _ in range(40): m(x).square().mean().backward()\n"
    "print(time.perf_counter() - start)\n"
)


@pytest.mark.extended
def test_beside_processes_that_load_every_core_work_slows_in_proportion():
    def seconds():
        command = [sys.executable, "-c", WORK.format(first="workflow_scripts, ")]
        return float(subprocess.run(command, cwd=ROOT, env=clean(), capture_output=True, text=True, check=True).stdout)

    alone = min(seconds() for _ in range(2))
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        time.sleep(0.5)
        beside = min(seconds() for _ in range(2))
    assert beside < 8 * alone  # twice is in proportion; threads that spin make it 20 times and more
