"""Go on with a run whose main process was killed: `make resume`, in the folder and on the host where it was started.

What the dead run left behind still works and would write the same files as the jobs of the next one: its SLURM jobs
are cancelled, its local steps ended, and only when all of them are gone does Snakemake start again, with the arguments
of the dead run.
"""

import argparse
import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.files import read_json, write_json

RECORD = Path(".snakemake/flarebench_run.json")
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""How the name of a job ends that Snakemake submitted."""
STEP = re.compile(rb"-m\0?\s?workflow_scripts\.(?!core\.resume)")


def record_run() -> None:
    """Write down who runs the workflow in this folder, and how it was called; Snakemake does so when it starts."""
    pid = os.getpid()
    write_json(
        RECORD,
        {"host": socket.gethostname(), "pid": pid, "started": _started(pid), "arguments": sys.argv[1:]},
    )


def resume(elsewhere: bool) -> list[str]:
    """Clear away what the dead run left; return the arguments that it was called with.

    Raises:
        Refused: no run was started here, it is alive, or it cannot be told whether its jobs are gone.
    """
    if not RECORD.exists():
        raise Refused(f"no run was started in {Path.cwd()}: start one with `snakemake`")
    last = read_json(RECORD)
    if last["host"] != socket.gethostname() and not elsewhere:
        raise Refused(
            f"the last run in this folder was started on {last['host']}: resume it there, or add --started-elsewhere "
            "if you know that its process is dead"
        )
    if last["host"] == socket.gethostname() and _started(last["pid"]) == last["started"]:
        raise Refused(f"the run in this folder is alive (process {last['pid']}): stop it with Ctrl-C, or wait")
    cancel_jobs(Path.cwd())
    end_steps(Path.cwd())
    return last["arguments"]


def cancel_jobs(folder: Path) -> None:
    """Cancel the jobs that Snakemake submitted from `folder`, and wait until SLURM has forgotten all of them."""
    if shutil.which("squeue") is None:
        return
    empty = 0
    while empty < 2:  # twice: the dead process may have left an sbatch on its way
        found = _jobs_from(folder)
        empty = 0 if found else empty + 1
        if found:
            print(f"cancelling {len(found)} jobs of the dead run: {' '.join(found)}", flush=True)
            subprocess.run(["scancel", *found], check=False)
        time.sleep(2)


def _jobs_from(folder: Path) -> list[str]:
    """Numbers of the user's pending, running and ending jobs whose working directory is `folder`."""
    command = ["squeue", "--noheader", f"--user={getpass.getuser()}", "--format=%A|%j|%Z"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"squeue does not say whether jobs of the dead run are left: {done.stderr.strip()}; try again")
    jobs = (line.split("|", 2) for line in done.stdout.splitlines())
    return sorted({number for number, name, where in jobs if RUN_ID.search(name) and Path(where).resolve() == folder})


def end_steps(folder: Path) -> None:
    """End the steps that run in `folder` on this host, downloads for example, and wait until they are gone."""
    told: set[int] = set()
    while found := _steps_in(folder):
        for pid in found - told:
            print(f"ending process {pid}, a step of the dead run", flush=True)
            os.kill(pid, signal.SIGTERM)
        told |= found
        time.sleep(0.5)


def _steps_in(folder: Path) -> set[int]:
    """Processes of this user that run a step with `folder` as their working directory."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if STEP.search((place / "cmdline").read_bytes()) and (place / "cwd").resolve() == folder:
                found.add(int(place.name))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return found


def _started(pid: int) -> str | None:
    """When the process began, in the kernel's ticks; None when there is none. Tells it from a later one of that id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--started-elsewhere", action="store_true", help="the dead run was started on another host")
    snakemake = [sys.executable, "-m", "snakemake", *resume(parser.parse_args().started_elsewhere)]
    subprocess.run([*snakemake, "--unlock"], check=True)
    print("going on with: " + " ".join(snakemake[2:]), flush=True)
    os.execv(sys.executable, [*snakemake, "--rerun-incomplete"])


if __name__ == "__main__":
    run_step(main)
