"""Runs of the workflow through profiles/slurm, and what SLURM recorded of their jobs."""

import os
import re
import signal
import subprocess
import sys
from collections import defaultdict
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import yaml

PAUSES = {"slurm-init-seconds-before-status-checks": 8, "seconds-between-status-checks": 1, "latency-wait": 5}
"""The profile's pauses are meant for jobs of minutes and shared disks."""
PROFILE = (
    *("--workflow-profile", "profiles/slurm"),
    *(word for key, value in PAUSES.items() for word in (f"--{key}", str(value))),
)
FAKE_GPUS = {"FLAREBENCH_DEVICE": "cpu"}
"""The cluster's GPUs are not real: torch is told to use the CPU."""


class Job(NamedTuple):
    """A job as SLURM recorded it; times in seconds, None before the start or the end."""

    number: str
    what: str
    state: str
    partition: str
    memory_mb: int
    minutes: int
    restarts: int
    start: float | None
    end: float | None


def gpu_tagged(folder: Path) -> tuple[str, ...]:
    """Arguments of a smoke run whose model asks for a GPU; two threads at most, here as on the cluster."""
    raw = yaml.safe_load((folder / "config/smoke.yaml").read_text())
    raw["models"]["tiny"]["gpus"] = 1
    (folder / "config/gpu.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return ("--configfile", "config/gpu.yaml", "--max-threads", "2")


def begin(folder: Path, *arguments: str, log: Path) -> subprocess.Popen:
    """Start Snakemake on the cluster in `folder`; it writes to `log`."""
    with log.open("a") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *PROFILE, *arguments],
            cwd=folder,
            env=os.environ | FAKE_GPUS,
            stdout=stream,
            stderr=subprocess.STDOUT,
            # Shells start what runs in the background deaf to Ctrl-C, and its children are so too.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )


def run(folder: Path, *arguments: str, code: int = 0, seconds: float = 600) -> str:
    """Run Snakemake on the cluster in `folder` to its end; return what it printed."""
    log = folder / "said.log"
    log.unlink(missing_ok=True)
    process = begin(folder, *arguments, log=log)
    try:
        ended = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
        raise AssertionError(f"still running after {seconds} s:\n{log.read_text()[-6000:]}") from None
    output = log.read_text()
    assert ended == code, output[-6000:]
    return output


def jobs_of(folder: Path) -> list[Job]:
    """The jobs that were submitted from `folder`, by number."""
    text = subprocess.run(["scontrol", "--oneliner", "show", "job"], check=True, capture_output=True, text=True).stdout
    jobs = []
    for line in text.splitlines():
        facts = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if facts.get("WorkDir") != str(folder):
            continue
        days, _, clock = facts["TimeLimit"].rpartition("-")
        hours, minutes, _ = clock.split(":")
        jobs.append(
            Job(
                facts["JobId"],
                facts.get("Comment", ""),
                facts["JobState"],
                facts["Partition"],
                _megabytes(facts["TRES"]),
                int(days or 0) * 1440 + int(hours) * 60 + int(minutes),
                int(facts["Restarts"]),
                _seconds(facts["StartTime"]),
                _seconds(facts["EndTime"]),
            )
        )
    return sorted(jobs, key=lambda job: int(job.number))


def _megabytes(tres: str) -> int:
    memory = dict(item.split("=") for item in tres.split(","))["mem"]
    return round(float(memory[:-1]) * {"M": 1, "G": 1024}[memory[-1]])


def _seconds(stamp: str) -> float | None:
    return None if stamp == "Unknown" else datetime.fromisoformat(stamp).timestamp()


def overlaps(jobs: list[Job]) -> list[tuple[Job, Job]]:
    """Pairs of jobs of one rule and wildcards that ran at the same time."""
    of_one = defaultdict(list)
    for job in jobs:
        if job.start is not None and job.end is not None:
            of_one[job.what].append(job)
    return [(first, second) for same in of_one.values() for first, second in pairwise(same) if second.start < first.end]


COST = re.compile(rb'<figure id="cost">.*?</figure>', re.DOTALL)


def results(folder: Path) -> dict[str, bytes]:
    """The run's tables, pages and weights by name, without the store and what tells of time and place.

    Of a page that is the figure of what the run cost, which is cut out.
    """
    below = folder / "results/smoke"
    kinds = {".parquet", ".csv", ".md", ".html", ".jsonl", ".safetensors"}
    return {
        str(path.relative_to(below)): COST.sub(b"", path.read_bytes())
        for path in sorted(below.rglob("*"))
        if path.suffix in kinds and path.is_file() and path.relative_to(below).parts[0] != "store"
    }
