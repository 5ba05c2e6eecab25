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
    jobs: list[Job] = []
    bounds: list[int] | None = None
    for line in text.splitlines():
        if match := BOUNDS.search(line):
            bounds = [int(number or 0) for number in match.groups()]
        elif bounds and (match := LOG.search(line)):
            cpus, gpus, minutes = bounds
            jobs.append(Job(match[2], cpus, gpus, minutes, Path(match[1]) / "benchmarks" / match[2]))
            bounds = None
    return jobs


def seconds_of(benchmarks: Path) -> list[float]:
    """Wall seconds of the jobs that a rule had before."""
    seconds: list[float] = []
    for file in sorted(benchmarks.glob("*.tsv")):
        with file.open(encoding="utf-8") as stream:
            seconds += [float(row["s"]) for row in csv.DictReader(stream, delimiter="\t")]
    return seconds


class Cost(NamedTuple):
    """What the jobs of a rule cost: how many, hours of CPU and GPU, and what these rest on."""

    rule: str
    jobs: int
    cpu: float
    gpu: float
    basis: str


def costs(jobs: list[Job]) -> list[Cost]:
    """The cost of each rule; the sum last."""
    by_rule: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_rule[job.rule].append(job)
    lines = []
    measured = True
    for rule, planned in by_rule.items():
        earlier = seconds_of(planned[0].benchmarks)
        measured = measured and bool(earlier)
        mean = sum(earlier) / len(earlier) / 3600 if earlier else None
        hours = [job.minutes / 60 if mean is None else mean for job in planned]
        cpu = sum(job.cpus * hour for job, hour in zip(planned, hours, strict=True))
        gpu = sum(job.gpus * hour for job, hour in zip(planned, hours, strict=True))
        basis = f"mean of {len(earlier)} earlier" if earlier else "at most, by the time limit"
        lines.append(Cost(rule, len(planned), cpu, gpu, basis))
    basis = "" if measured else "at most"
    total = Cost("total", len(jobs), sum(line.cpu for line in lines), sum(line.gpu for line in lines), basis)
    return [*lines, total]


def price() -> str:
    """The costs of the plan on standard input, as a table.

    Raises:
        Refused: it plans no job.
    """
    jobs = planned_jobs(sys.stdin.read())
    if not jobs:
        raise Refused("no job is planned; usage: snakemake -np … | python -m workflow_scripts.cli.cost")
    lines = [f"{'rule':20} {'jobs':>6} {'CPU h':>10} {'GPU h':>10}"]
    for rule, count, cpu, gpu, basis in costs(jobs):
        lines.append(f"{rule:20} {count:6} {cpu:10.2f} {gpu:10.2f}  {basis}".rstrip())
    return "\n".join(lines)


if __name__ == "__main__":
    run_step(price)
