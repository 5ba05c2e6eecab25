"""Looks at a run from outside: which steps run below its folder, and how much memory is taken on their GPUs."""

import json
import re
import subprocess
import time
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

STEP = re.compile(rb"-m(?:odule)?\0workflow_scripts\.(?!cli\.)(\w+)\.(\w+)")
JUDGE = re.compile(rb"\0--name\0([^\0]+)\0")
DEVICES = re.compile(rb"(?:^|\0)CUDA_VISIBLE_DEVICES=([^\0]*)")
CARD = re.compile(r"^(\d+), (\S+), (\d+), (.+)$", re.M)
QUERY = ["nvidia-smi", "--query-gpu=index,uuid,memory.used,utilization.gpu", "--format=csv,noheader,nounits"]


class Gpu(NamedTuple):
    """One look at a GPU."""

    gib: float  # memory in use
    busy: float  # percent of the last moment


def _read(pid: int | str, name: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:  # it has ended
        return b""


def steps_below(folder: Path) -> dict[int, str]:
    """The steps that run with `folder` as their working directory: what a job is, by process.

    A job is its rule, for a judge with the judge's name. Worker processes that a step forks are left out.
    """
    steps = {}
    for place in Path("/proc").glob("[0-9]*"):
        command = _read(place.name, "cmdline")
        if not (names := STEP.findall(command)) or b"python" not in command.split(b"\0")[0].rpartition(b"/")[2]:
            continue
        try:
            here = (place / "cwd").resolve() == folder
            parent = (place / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        if here and _read(parent, "cmdline") != command:
            job = b"_".join(names[-1]).decode()
            judge = JUDGE.search(command) if job == "score_judge" else None
            steps[int(place.name)] = f"{job} {judge[1].decode()}" if judge else job
    return steps


def gpus() -> dict[str, Gpu]:
    """All GPUs, by index and by UUID; none where they cannot be asked."""
    try:
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    cards = {}
    for index, uuid, memory, busy in CARD.findall(done.stdout):
        cards[index] = cards[uuid] = Gpu(float(memory) / 1024, float(busy) if busy.isdigit() else 0.0)
    return cards


class Usage:
    """What the jobs of a run use, over all of its calls; written to `usage.json` beside the results."""

    def __init__(self, run: Path) -> None:
        self._run, self._file, self._start = run, run / "usage.json", time.monotonic()
        earlier = json.loads(self._file.read_text()) if self._file.exists() else {}
        self.peak: dict[str, float] = earlier.get("peak", {})  # GiB of one GPU, by job
        self.busy: dict[str, list[float]] = earlier.get("busy", {})  # sum of percents and number of looks, by job
        self.cut: dict[str, float] = earlier.get("cut", {})  # seconds of tries that were cut short, by job
        self.calls: list[float] = earlier.get("calls", [])  # seconds of each call
        self._running: dict[int, tuple[str, float]] = {}  # job and when it was first seen, by process
        self._last: dict[str, Gpu] = {}

    def look(self) -> None:
        """Note which steps run now, and what is in use on their GPUs."""
        steps, now = steps_below(self._run), time.monotonic()
        self._running = {pid: self._running.get(pid, (job, now)) for pid, job in steps.items()}
        self._last = gpus()
        for pid, job in steps.items():
            devices = DEVICES.search(_read(pid, "environ"))
            for device in devices[1].decode().split(",") if devices else ():
                if gpu := self._last.get(device.strip()):
                    self.peak[job] = max(self.peak.get(job, 0.0), gpu.gib)
                    total, looks = self.busy.get(job, (0.0, 0))
                    self.busy[job] = [total + gpu.busy, looks + 1]

    def line(self) -> str:
        """What runs now, in a line."""
        jobs = ", ".join(sorted({job for job, _ in self._running.values()})) or "between jobs"
        cards = "; ".join(f"GPU {n} {gpu.gib:.1f} GiB {gpu.busy:.0f} %" for n, gpu in self._last.items() if n.isdigit())
        return f"{time.monotonic() - self._start:5.0f} s  {jobs}  {cards}"

    def cut_short(self) -> None:
        """Count the time of the jobs that run now as lost: Snakemake notes that of finished jobs alone."""
        starts: dict[str, float] = defaultdict(lambda: float("inf"))
        for job, first in self._running.values():
            starts[job] = min(starts[job], first)
        for job, first in starts.items():
            self.cut[job] = self.cut.get(job, 0.0) + time.monotonic() - first

    def save(self) -> None:
        """Write all of it."""
        self.calls.append(time.monotonic() - self._start)
        content = {"peak": self.peak, "busy": self.busy, "cut": self.cut, "calls": self.calls}
        self._file.write_text(json.dumps(content, indent=1))
