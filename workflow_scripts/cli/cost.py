"""What a plan costs: `snakemake -np … | python -m workflow_scripts.cli.cost`.

Hours of CPU and GPU by rule: from the benchmarks of earlier jobs of the rule where there are any, else at most, by the
rule's time limit.
"""

import csv
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.core.command import Refused, run_step

BOUNDS = re.compile(r"\[(\d+) CPU,(?: (\d+) GPU,)? \d+ MB, (\d+) min\]$")
LOG = re.compile(r"tee '?(.*)/logs/(\w+)/[^/]+\.log'?$")


class Job(NamedTuple):
    """A planned job: its rule, CPUs, GPUs, time limit in minutes, and the folder of the benchmarks."""

    rule: str
    cpus: int
    gpus: int
    minutes: int
    benchmarks: Path


def planned_jobs(text: str) -> list[Job]:
    """The jobs of what `snakemake -np` printed: a message with the bounds, then the command with its log."""
    jobs, bounds = [], None
    for line in text.splitlines():
        if found := BOUNDS.search(line):
            bounds = [int(number or 0) for number in found.groups()]
        elif bounds and (found := LOG.search(line)):
            jobs.append(Job(found[2], *bounds, Path(found[1]) / "benchmarks" / found[2]))
            bounds = None
    return jobs


def seconds_of(benchmarks: Path) -> list[float]:
    """Wall seconds of the jobs that a rule had before."""
    found = []
    for file in sorted(benchmarks.glob("*.tsv")):
        with file.open(encoding="utf-8") as stream:
            found += [float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")]
    return found


def costs(jobs: list[Job]) -> list[tuple[str, int, float, float, str]]:
    """By rule: jobs, CPU hours, GPU hours, and what these rest on; the sum last."""
    by_rule: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_rule[job.rule].append(job)
    lines = []
    for rule, planned in by_rule.items():
        earlier = seconds_of(planned[0].benchmarks)
        mean = sum(earlier) / len(earlier) / 3600 if earlier else None
        hours = [job.minutes / 60 if mean is None else mean for job in planned]
        cpu = sum(job.cpus * hour for job, hour in zip(planned, hours, strict=True))
        gpu = sum(job.gpus * hour for job, hour in zip(planned, hours, strict=True))
        basis = f"mean of {len(earlier)} earlier" if earlier else "at most, by the time limit"
        lines.append((rule, len(planned), cpu, gpu, basis))
    measured = all(line[4].startswith("mean") for line in lines)
    total = [sum(line[column] for line in lines) for column in (1, 2, 3)]
    return [*lines, ("total", *total, "" if measured else "at most")]


def main() -> None:
    jobs = planned_jobs(sys.stdin.read())
    if not jobs:
        raise Refused("no job is planned; usage: snakemake -np … | python -m workflow_scripts.cli.cost")
    print(f"{'rule':20} {'jobs':>6} {'CPU h':>10} {'GPU h':>10}")
    for rule, count, cpu, gpu, basis in costs(jobs):
        print(f"{rule:20} {count:6} {cpu:10.2f} {gpu:10.2f}  {basis}".rstrip())


if __name__ == "__main__":
    run_step(main)
