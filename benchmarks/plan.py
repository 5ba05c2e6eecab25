"""How long a plan takes: 40 systems on 4 splits in 16 shards, before anything ran and when everything is there.

    python -m benchmarks.plan

Nothing is computed: Snakemake is told that empty files are its outputs. Prints wall and CPU seconds and peak memory.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from workflow_scripts import ROOT

CONFIG = "config/plan.yaml"


def configuration(systems: int, splits: int, shards: int) -> dict:
    """A configuration of many systems, half of them tuned, on parts of the toy dataset."""
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    names = [f"part{number}" for number in range(splits)]
    whole = {"dataset": "toy", "folder": "validation-public"}
    parts = [{"seed": 7, "start": n / splits, "stop": (n + 1) / splits} for n in range(splits)]
    raw["splits"] = {"train": raw["splits"]["train"]} | {
        name: whole | {"part": part} for name, part in zip(names, parts, strict=True)
    }
    recipe = raw["recipes"]["qlora"]
    tuned = range(systems // 2)
    raw["recipes"] = {f"recipe{number}": recipe | {"learning_rate": 1e-4 * (number + 1)} for number in tuned}
    raw["systems"] = {f"tuned{n}": {"model": "tiny", "recipe": f"recipe{n}", "train": "train"} for n in tuned}
    raw["systems"] |= {
        f"base{n}": {"model": "tiny", "prompt": {"system": f"Answer {n}."}} for n in range(systems - len(tuned))
    }
    raw["evaluate"] = names
    raw["inference"]["shards"] = shards
    return raw


def snakemake(folder: Path, *arguments: str) -> tuple[str, float, float]:
    """Run Snakemake in `folder`: what it printed, wall seconds, CPU seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", CONFIG, *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=folder, check=True, **streams)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, time.monotonic() - start, cpu


def pretend(folder: Path) -> None:
    """Make empty outputs of one time, and let Snakemake record them as its own."""
    snakemake(folder, "--touch")
    for line in snakemake(folder, "--summary")[0].splitlines():
        output = folder / line.split("\t")[0]
        if line.startswith("results/"):
            output.parent.mkdir(parents=True, exist_ok=True)
            output.touch()
            os.utime(output, (1e9, 1e9))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", type=int, default=40)
    parser.add_argument("--splits", type=int, default=4)
    parser.add_argument("--shards", type=int, default=16)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs"):
            (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, folder / part)
        (folder / CONFIG).write_text(yaml.safe_dump(configuration(given.systems, given.splits, given.shards)))
        output, wall, cpu = snakemake(folder, "-n")
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        jobs = next(line.split()[1] for line in output.splitlines() if line.startswith("total"))
        print(f"plan of {jobs} jobs: {wall:.1f} s, {cpu:.1f} s of CPU, {peak:.0f} MiB")
        pretend(folder)
        output, wall, cpu = snakemake(folder)
        assert "Nothing to be done" in output, output[-2000:]
        print(f"run with nothing to do: {wall:.1f} s, {cpu:.1f} s of CPU")


if __name__ == "__main__":
    main()
