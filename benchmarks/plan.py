"""How long a plan takes: 40 systems on 4 splits in 16 shards, before anything ran and when everything is there.

    python -m benchmarks.plan [--pairs 3]

Beside it, in turn, a bare plan: a rule of one line, as many jobs of one file each, depending on each other as ours do.
Nothing is computed: Snakemake is told that empty files are its outputs. Prints wall and CPU seconds, medians over the
pairs, and peak memory.
"""

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from workflow_scripts import ROOT

CONFIG = "config/plan.yaml"

BARE = """import json
from pathlib import Path

DEPENDENCIES = json.loads(Path("dependencies.json").read_text())


rule all:
    input:
        [f"jobs/{job}" for job in DEPENDENCIES["all"]],


rule one:
    input:
        lambda w: [f"jobs/{job}" for job in DEPENDENCIES[w.job]],
    output:
        "jobs/{job}",
    shell:
        "touch {output}"
"""


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
    configured = ["--configfile", CONFIG] if (folder / CONFIG).is_file() else []
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *configured, *arguments]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run(command, cwd=folder, check=True, **streams)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return done.stdout, time.monotonic() - start, cpu


def dependencies(folder: Path) -> dict[str, list[str]]:
    """By the number of each job of the plan of `folder`, those that it depends on; the first is called `all`."""
    graph = snakemake(folder, "--dag", "dot")[0]
    name = {
        number: "all" if label == "all" else number for number, label in re.findall(r'(\d+)\[label = "(\w+)', graph)
    }
    edges = re.findall(r"(\d+) -> (\d+)", graph)
    by_job: dict[str, list[str]] = {job: [] for job in name.values()}
    for before, after in edges:
        by_job[name[after]].append(name[before])
    return by_job


def jobs_of(plan: str) -> int:
    """How many jobs a dry run says that it would run."""
    return next(int(line.split()[1]) for line in plan.splitlines() if re.match(r"total +\d", line))


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
    parser.add_argument("--pairs", type=int, default=3, help="times that our plan and the bare one are made in turn")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        ours, bare = Path(name) / "ours", Path(name) / "bare"
        ours.mkdir()
        bare.mkdir()
        for part in ("Snakefile", "rules", "workflow_scripts", "config", "profiles", "envs"):
            (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, ours / part)
        (ours / CONFIG).write_text(yaml.safe_dump(configuration(given.systems, given.splits, given.shards)))
        jobs = dependencies(ours)
        (bare / "Snakefile").write_text(BARE)
        (bare / "dependencies.json").write_text(json.dumps(jobs))
        seconds: dict[str, list[tuple[float, float]]] = {"plan": [], "bare plan": []}
        for _ in range(given.pairs):
            for kind, folder in (("plan", ours), ("bare plan", bare)):
                output, wall, cpu = snakemake(folder, "-n")
                assert jobs_of(output) == len(jobs), (kind, jobs_of(output), len(jobs))
                seconds[kind].append((wall, cpu))
                print(f"{kind} of {len(jobs)} jobs: {wall:.1f} s, {cpu:.1f} s of CPU", flush=True)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        edges = sum(map(len, jobs.values()))
        walls, cpus = (
            [own[k] / other[k] for own, other in zip(seconds["plan"], seconds["bare plan"], strict=True)]
            for k in (0, 1)
        )
        print(
            f"ours / bare, {edges} dependencies: {statistics.median(walls):.2f} of wall time, "
            f"{statistics.median(cpus):.2f} of CPU (medians of {given.pairs}); at most {peak:.0f} MiB"
        )
        pretend(ours)
        output, wall, cpu = snakemake(ours)
        assert "Nothing to be done" in output, output[-2000:]
        print(f"run with nothing to do: {wall:.1f} s, {cpu:.1f} s of CPU")


if __name__ == "__main__":
    main()
