"""The whole mission at its true shape: from a FLARE-shaped folder to CRIMSON and GREEN columns, through Snakemake.

    python -m benchmarks.mission_gpu [--tiny] [--gpus 1|2] [--folder WORK] [--minutes 9]

Writes random checkpoints of MedGemma 1.5 4B's and of both judges' shapes and a FLARE-shaped folder of seven tasks
(`benchmarks.mission_data`), tunes, answers, judges and reports. It ends before the minutes are over; the same command
goes on (exit code 3: call again; 0: all is done, and a second run does nothing). Prints what each rule cost, what all
of FLARE would, and the judged columns of the table. `--tiny` does the same in small shapes on a CPU.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml

from benchmarks.mission_costs import print_costs, print_judged
from benchmarks.mission_data import SCALE
from benchmarks.mission_watch import Usage, steps_below

ROOT = Path(__file__).resolve().parents[1]
PIECES = ("crimson", "green", "flare")
"""Written side by side; `crimson` brings `medgemma` with it."""

PAUSE = 2.0
"""Seconds between two looks at the jobs."""

ENDING = 60.0
"""Seconds that ending a run may take."""

TIME_IS_UP = 3
NOTHING = "Nothing to be done"


class TimeIsUp(Exception):
    """The run was ended before it was finished."""


def configuration(folder: Path, gpus: int, tiny: bool) -> dict:
    """The run's configuration: answers are as long as FLARE's are, since a random model seldom stops by itself."""
    judge = {"revision": None, "invalid_share": 1, "retries": 0, "gpus": min(1, gpus), "shards": max(1, gpus)}
    limits = {"classification": 8, "multi_label": 24, "detection": 32, "instance_detection": 256}
    limits |= {"counting": 8, "regression": 8, "report": 40}
    recipe = {"quantisation": "nf4", "lora": {"r": 16, "alpha": 16, "dropout": 0.05, "targets": "language"}}
    recipe |= {"learning_rate": 2.0e-4, "epochs": 1, "batch": 16, "optimiser": "adamw_torch_fused"}
    if tiny:
        limits = dict.fromkeys(limits, 8)
        recipe |= {
            "epochs": None,
            "steps": 8,
            "batch": 8,
            "micro_batch": 8,
            "save_every": 4,
            "optimiser": "adamw_torch",
        }
    return {
        "results": "results",
        "datasets": {"flare": {"source": "local", "path": str(folder / "flare")}},
        "splits": {
            "train": {"dataset": "flare", "folder": "training"},
            "validation": {"dataset": "flare", "folder": "validation-public"},
        },
        "models": {
            "medgemma": {"source": "hub", "family": "gemma3", "checkpoint": str(folder / "medgemma"), "gpus": gpus}
        },
        "recipes": {"qlora": recipe},
        "systems": {
            "base": {"model": "medgemma"},
            "tuned": {"model": "medgemma", "recipe": "qlora", "train": "train"},
            "majority": {"baseline": "majority", "train": "train"},
            "nearest": {"baseline": "nearest", "train": "train"},
        },
        "judges": {
            "crimson": {
                "backend": "crimson",
                "checkpoint": str(folder / "crimson"),
                "batch": 16 if tiny else 128,
                "max_new_tokens": 12 if tiny else 300,
                **judge,
            },
            "green": {
                "backend": "green",
                "checkpoint": str(folder / "green"),
                "batch": 16 if tiny else 96,  # 160 take 82 GiB
                "max_new_tokens": 12 if tiny else 200,
                **judge,
            },
            "rule_based": {"backend": "rule_based"},
        },
        "evaluate": ["validation"],
        "inference": {"shards": max(1, gpus), "together": [["base", "tuned"]], "max_new_tokens": limits},
        "scoring": {"resamples": 100 if tiny else 1000},
        "report": {"title": "The whole mission with random weights"},
    }


def environment(tiny: bool) -> dict[str, str]:
    """What the processes get: this checkout's code, no network, and no GPU where none is asked for."""
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    given = {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths)), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    return os.environ | given | ({"FLAREBENCH_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": ""} if tiny else {})


def write_pieces(folder: Path, tiny: bool, scale: float, deadline: float) -> None:
    """Write what is missing of dataset and checkpoints, side by side.

    Raises:
        SystemExit: a piece could not be written.
        TimeIsUp: the deadline came first.
    """
    command = [sys.executable, "-m", "benchmarks.mission_data", "--folder", str(folder), "--scale", str(scale)]
    command += ["--tiny"] if tiny else []
    processes = [subprocess.Popen([*command, piece], cwd=ROOT, env=environment(tiny)) for piece in PIECES]
    try:
        for piece, process in zip(PIECES, processes, strict=True):
            if process.wait(max(1.0, deadline - time.monotonic())):
                raise SystemExit(f"{piece} could not be written")
    except subprocess.TimeoutExpired:
        raise TimeIsUp from None
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()


def snakemake(gpus: int, cores: int) -> list[str]:
    """The command of the run. The greedy scheduler needs no solver."""
    return [
        *(sys.executable, "-m", "snakemake", "--snakefile", str(ROOT / "Snakefile"), "--configfile", "config.yaml"),
        *("--workflow-profile", str(ROOT / "profiles/default"), "--scheduler", "greedy", "--nolock"),
        *("--cores", str(cores), "--resources", f"gpu={max(1, gpus)}", "--rerun-incomplete", "--keep-going"),
    ]


def run_until(run: Path, command: list[str], tiny: bool, usage: Usage, deadline: float) -> int:
    """Run Snakemake in the folder `run` as a child; its exit code.

    Raises:
        TimeIsUp: the deadline came first; the child and its steps are ended.
    """
    with (run / "snakemake.log").open("ab") as log:
        child = subprocess.Popen(
            command, cwd=run, env=environment(tiny), stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    said = 0.0
    try:
        while child.poll() is None:
            usage.look()
            if time.monotonic() > deadline:
                raise TimeIsUp
            if time.monotonic() - said > 15:
                said = time.monotonic()
                print(usage.line(), flush=True)
            time.sleep(PAUSE)
    finally:
        if child.poll() is None:
            usage.cut_short()
            end(child, run)
        usage.save()
    return child.returncode


def end(child: subprocess.Popen, run: Path) -> None:
    """End a run as a cluster would: no new job, a signal to the steps, which store what they have, then harder."""
    child.terminate()  # Snakemake starts no further job and waits for the running ones
    for number, patience in ((signal.SIGTERM, 0.6), (signal.SIGINT, 0.2), (signal.SIGKILL, 0.2)):
        for pid in steps_below(run):
            _signal(pid, number)
        if number != signal.SIGTERM:
            _signal(-child.pid, number)  # the group that the child leads
        try:
            child.wait(ENDING * patience)
            break
        except subprocess.TimeoutExpired:
            continue
    for pid in steps_below(run):
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    """Send a signal to a process, or to the group -`pid`; one that has ended needs none."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def tail(file: Path, lines: int) -> str:
    """The last lines of a log, progress bars left out."""
    text = file.read_text(encoding="utf-8", errors="replace")
    return "\n".join([line.rpartition("\r")[2] for line in text.rstrip().split("\n")][-lines:])


def run_again_does_nothing(run: Path, command: list[str], tiny: bool) -> bool:
    """Whether a second run would have nothing to do; a plan says so, and starts nothing where that is wrong."""
    options: dict = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.run([*command, "--dry-run"], cwd=run, env=environment(tiny), check=False, **options)
    nothing = done.returncode == 0 and NOTHING in done.stdout
    print(f"second run: {NOTHING}" if nothing else f"a second run would not be idle:\n{done.stdout[-3000:]}")
    return nothing


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="small shapes, on the CPU")
    parser.add_argument("--gpus", type=int, default=1, choices=(1, 2))
    folder = Path("results/mission")
    parser.add_argument("--folder", type=Path, default=folder, help="for 22 GB of weights and the results")
    parser.add_argument("--minutes", type=float, default=9, help="that this call may take")
    parser.add_argument("--scale", type=float, help="size of the dataset; 1: about 2,400 rows")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    given = parser.parse_args()
    start = time.monotonic()
    deadline = start + 60 * given.minutes - ENDING
    gpus = 0 if given.tiny else given.gpus
    folder = given.folder.resolve() / ("tiny" if given.tiny else "full")
    run = folder / f"run-{gpus}"
    run.mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TIME_IS_UP))
    command, usage = snakemake(gpus, given.cores), Usage(run)
    try:
        write_pieces(folder, given.tiny, given.scale or (0.1 if given.tiny else SCALE), deadline)
        print(f"prepared after {time.monotonic() - start:.0f} s", flush=True)
        (run / "config.yaml").write_text(yaml.safe_dump(configuration(folder, gpus, given.tiny), sort_keys=False))
        code = run_until(run, command, given.tiny, usage, deadline)
    except TimeIsUp:
        code = TIME_IS_UP
    if code not in (0, TIME_IS_UP):
        print(tail(run / "snakemake.log", 60))
        print(f"snakemake ended with {code}; its whole output: {run / 'snakemake.log'}")
    if (run / "results/configuration.json").exists():  # it is written when the first job may start
        print_costs(run, usage)
    if code == 0:
        print_judged(run / "results")
        code = 0 if run_again_does_nothing(run, command, given.tiny) else 1
    if code == TIME_IS_UP:
        print("time is up before the run was finished: call the same command again")
    print(f"this call took {(time.monotonic() - start) / 60:.1f} min; exit code {code}", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
