"""Running Snakemake as its users do, and reading which jobs it plans."""

import atexit
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from tests.workflow import step_server
from workflow_scripts import ROOT

NO_JOB = {"-n", "-np", "--summary", "--dag", "--rulegraph", "--report", "--unlock"}
CLUSTER = {"--executor", "--workflow-profile"}
CODE = ("Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs")


def checkout(folder: Path, source: Path = ROOT) -> Path:
    """A copy of the workflow at `source` in `folder`, so that a test may edit it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CODE:
        part = source / name
        if part.is_dir():
            shutil.copytree(part, folder / name)  # with what is compiled, which stays valid: times are copied
        else:
            shutil.copyfile(part, folder / name)
    return folder


def logged_out() -> dict[str, str]:
    """This environment without a token of the hub, set or stored by `hf auth login`, and with a connection."""
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    return environment | {"HF_TOKEN_PATH": "/nowhere/token"}


@cache
def _planner() -> subprocess.Popen:
    """The process that forks, see `planner`: one for all tests of this process."""
    command = [sys.executable, str(Path(__file__).with_name("planner.py"))]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(process.stdin.close)  # its end
    return process


def _in_a_fork(folder: Path, arguments: tuple[str, ...], environment: Mapping[str, str]) -> tuple[int, str]:
    """Exit code and output of Snakemake in a process that has imported it, as have the jobs their libraries."""
    no_job = NO_JOB & set(arguments)
    with tempfile.NamedTemporaryFile("r") as output:
        request = {
            "folder": str(folder.resolve()),
            "arguments": ["--cores", "2", *arguments],
            "environment": dict(environment),
            "output": output.name,
            "interpreter": sys.executable if no_job else step_server.python(),
        }
        process = _planner()
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return int(process.stdout.readline()), output.read()


def snakemake(folder: Path, *arguments: str, code: int = 0, **options) -> str:
    """Run Snakemake in `folder` and expect an exit code; return what it printed.

    On a cluster, and with options of `subprocess.run` other than an environment, it and its jobs are new processes.
    """
    if options.keys() <= {"env"} and not CLUSTER & set(arguments):
        returned, printed = _in_a_fork(folder, arguments, options.get("env", os.environ))
        assert returned == code, f"snakemake {' '.join(arguments)}: {returned}\n{printed[-6000:]}"
        return printed
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "2", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        **options,
    )
    assert done.returncode == code, f"snakemake {' '.join(arguments)}: {done.returncode}\n{done.stdout[-6000:]}"
    return done.stdout


def refused(folder: Path, *arguments: str, **options) -> str:
    """What Snakemake says when it refuses to begin: no traceback, and no job was started."""
    output = snakemake(folder, *arguments, code=1, **options)
    assert "Traceback" not in output and "Select jobs to execute" not in output and "Finished jobid" not in output
    return output


def planned(folder: Path, *arguments: str) -> dict[str, int]:
    """Jobs by rule that a dry run plans; empty when there is nothing to do."""
    output = snakemake(folder, "-n", *arguments)
    if "Nothing to be done" in output:
        return {}
    table = re.search(r"^job +count\n-+ +-+\n(.*?)\n\n", output, re.S | re.M)
    assert table, output[-3000:]
    counts = dict(re.findall(r"^(\w+) +(\d+)$", table[1], re.M))
    return {rule: int(count) for rule, count in counts.items() if rule not in ("all", "total")}


def planned_files(folder: Path, results: str, *arguments: str) -> tuple[set[str], set[str]]:
    """All files below `results` that jobs make, and those that a run would make again, relative to it."""
    output = snakemake(folder, "--summary", *arguments)
    lines = [line.split("\t") for line in output.splitlines() if line.startswith(f"{results}/") and "\t" in line]
    assert lines, output[-3000:]
    plans = {line[0].removeprefix(f"{results}/"): line[-1] for line in lines}
    return set(plans), {file for file, plan in plans.items() if plan == "update pending"}
