"""A step in a fork is what it is in a process of its own: its code, flags, streams, exit code, and its end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.workflow import step_server

STEP = """
import os, sys, time
print(os.getcwd(), sys.argv[1:], os.environ["GIVEN"], sys.stdin.read(), __name__, os.environ["OMP_NUM_THREADS"])
print("libraries are there:", "torch" in sys.modules, file=sys.stderr)
match sys.argv[1]:
    case "sentence": sys.exit("error: a sentence")
    case "code": sys.exit(3)
    case "fault": raise ValueError("a fault")
    case "sleep":
        open("pid", "w").write(str(os.getpid()))
        time.sleep(60)
"""


@pytest.fixture
def place(tmp_path) -> Path:
    """A folder with a package that is named as the workflow's, of one step."""
    package = tmp_path / "workflow_scripts"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "step.py").write_text(STEP)
    return tmp_path


def run(python, place, *words, **variables):
    environment = os.environ | {"GIVEN": "something", "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"} | variables
    command = [python, "-m", "workflow_scripts.step", *words]
    return subprocess.run(command, cwd=place, env=environment, input="typed", capture_output=True, text=True)


@pytest.mark.parametrize(("word", "code"), [("well", 0), ("sentence", 1), ("code", 3), ("fault", 1)])
def test_a_fork_says_and_ends_as_a_process_does(place, word, code):
    fork, process = (run(python, place, word) for python in (step_server.python(), sys.executable))
    assert fork.returncode == process.returncode == code
    assert fork.stdout == process.stdout and fork.stdout.endswith(f"['{word}'] something typed __main__ 1\n")
    assert "libraries are there: True" in fork.stderr and "libraries are there: False" in process.stderr
    assert fork.stderr.splitlines()[-1:] == process.stderr.splitlines()[-1:] or code in (0, 3)


def test_what_libraries_read_at_their_import_begins_a_process(place):
    assert "libraries are there: False" in run(step_server.python(), place, "well", OMP_WAIT_POLICY="ACTIVE").stderr
    assert run(step_server.python(), place, "well", OMP_NUM_THREADS="2").stdout.endswith(" 2\n")


def test_a_step_ends_with_the_process_that_asked_for_it(place):
    environment = os.environ | {"GIVEN": "", "PYTHONPATH": str(place), "OMP_NUM_THREADS": "1"}
    command = [step_server.python(), "-m", "workflow_scripts.step", "sleep"]
    asking = subprocess.Popen(command, cwd=place, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not (place / "pid").exists() or not (place / "pid").read_text():
            assert time.monotonic() < until
            time.sleep(0.01)
    finally:
        asking.send_signal(signal.SIGKILL)
        asking.wait()
    step = int((place / "pid").read_text())
    while Path(f"/proc/{step}").exists():
        assert time.monotonic() < until + 60
        time.sleep(0.01)
