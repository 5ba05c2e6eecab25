"""Running Snakemake as its users do, and reading which jobs it plans."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from workflow_scripts import ROOT

CODE = ("Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs")


def checkout(folder: Path, source: Path = ROOT) -> Path:
    """A copy of the workflow at `source` in `folder`, so that a test may edit it."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in CODE:
        part = source / name
        if part.is_dir():
            shutil.copytree(part, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copyfile(part, folder / name)
    return folder


def logged_out() -> dict[str, str]:
    """This environment without a token of the hub, set or stored by `hf auth login`, and with a connection."""
    environment = {name: value for name, value in os.environ.items() if name not in ("HF_TOKEN", "HF_HUB_OFFLINE")}
    return environment | {"HF_TOKEN_PATH": "/nowhere/token"}


def snakemake(folder: Path, *arguments: str, code: int = 0, **options) -> str:
    """Run Snakemake in `folder` and expect an exit code; return what it printed."""
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
