"""Go on with a run whose main process was killed: `make resume`, in the folder and on the host where it was started.

What the dead run left behind still works and would write the same files as the jobs of the next one: its SLURM jobs
are cancelled, its local steps ended, and only when all of them are gone does Snakemake start again, with the arguments
of the dead run.
"""

import getpass
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.files import read_json, write_json

RECORD = Path(".snakemake/flarebench_run.json")
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
"""How the name of a job ends that Snakemake submitted."""
STEP = re.compile(rb"-m\0?\s?workflow_scripts\.(?!cli\.resume)")


def record_run() -> None:
    """Write down who runs the workflow in this folder, and how it was called; Snakemake does so when it starts."""
    pid = os.getpid()
    write_json(
        RECORD,
        {"host": socket.gethostname(), "pid": pid, "started": _started(pid), "arguments": sys.argv[1:]},
    )


def name_user() -> None:
    """Name a user without an entry in the password file by its number: Snakemake stops where it finds no name."""
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["LOGNAME"] = str(os.getuid())


def resume(*, started_elsewhere: bool = False) -> None:
    """Go on with the last run in this folder.

    Args:
        started_elsewhere: the run was started on another host, and its process there is dead.

    Raises:
        Refused: see `clear_dead_run` and `check_cache_folder`.
    """
    check_cache_folder()
    name_user()
    snakemake = [sys.executable, "-m", "snakemake", *clear_dead_run(elsewhere=started_elsewhere)]
    if subprocess.run([*snakemake, "--unlock"], check=False).returncode:
        raise Refused("Snakemake cannot unlock this folder, for the reason above; see to it and run again")
    print("going on with: " + " ".join(snakemake[2:]), flush=True)
    os.execv(sys.executable, [*snakemake, "--rerun-incomplete"])


def check_cache_folder() -> None:
    """See that Snakemake can start: a container's user may have no home, or one that is read-only.

    Raises:
        Refused: it cannot; the message names the variable to set.
    """
    try:
        base = os.environ.get("HOME") or pwd.getpwuid(os.getuid()).pw_dir
    except KeyError:
        raise Refused(
            f"user {os.getuid()} has neither HOME nor an entry in the password file, and Snakemake needs a home: set "
            "HOME to a folder that can be written"
        ) from None
    place = os.environ.get("XDG_CACHE_HOME") or str(Path(base) / ".cache")
    try:
        Path(place).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=place).close()
    except OSError as error:
        raise Refused(
            f"{place} cannot be written ({error.strerror}), and Snakemake caches there: set XDG_CACHE_HOME to a folder "
            "that can"
        ) from None


def clear_dead_run(*, elsewhere: bool) -> list[str]:
    """Clear away what the dead run left; return the arguments that it was called with.

    Raises:
        Refused: no run was started here, it is alive, or it cannot be known whether its jobs are gone.
    """
    if not RECORD.exists():
        raise Refused(f"no run was started in {Path.cwd()}: start one with `snakemake`")
    last = cast(dict[str, Any], read_json(RECORD))
    if last["host"] != socket.gethostname() and not elsewhere:
        raise Refused(
            f"the last run in this folder was started on {last['host']}: resume it there, or add "
            "`--started-elsewhere True` if you know that its process is dead"
        )
    if last["host"] == socket.gethostname() and _started(last["pid"]) == last["started"]:
        raise Refused(f"the run in this folder is alive (process {last['pid']}): stop it with Ctrl-C, or wait")
    cancel_jobs(Path.cwd())
    end_steps(Path.cwd())
    arguments: list[str] = last["arguments"]
    return arguments


def cancel_jobs(folder: Path) -> None:
    """Cancel the jobs that Snakemake submitted from `folder`, and wait until SLURM has forgotten all of them."""
    if shutil.which("squeue") is None:
        return
    empty = 0
    while empty < 2:  # twice: the dead process may have left an sbatch on its way
        jobs = _jobs_from(folder)
        empty = 0 if jobs else empty + 1
        if jobs:
            print(f"cancelling {len(jobs)} jobs of the dead run: {' '.join(jobs)}", flush=True)
            subprocess.run(["scancel", *jobs], check=False)
        time.sleep(2)


def _jobs_from(folder: Path) -> list[str]:
    """Numbers of the user's pending, running and ending jobs whose working directory is `folder`."""
    command = ["squeue", "--noheader", f"--user={os.getuid()}", "--format=%A|%j|%Z"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Refused(f"squeue does not say whether jobs of the dead run are left: {done.stderr.strip()}; try again")
    jobs = (line.split("|", 2) for line in done.stdout.splitlines())
    return sorted({number for number, name, where in jobs if RUN_ID.search(name) and Path(where).resolve() == folder})


def end_steps(folder: Path) -> None:
    """End the steps that run in `folder` on this host, downloads for example, and wait until they are gone."""
    signalled: set[int] = set()
    while steps := _steps_in(folder):
        for pid in steps - signalled:
            print(f"ending process {pid}, a step of the dead run", flush=True)
            os.kill(pid, signal.SIGTERM)
        signalled |= steps
        time.sleep(0.5)


def _steps_in(folder: Path) -> set[int]:
    """Processes of this user that run a step with `folder` as their working directory."""
    steps = set()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if STEP.search((place / "cmdline").read_bytes()) and (place / "cwd").resolve() == folder:
                steps.add(int(place.name))
        except OSError:
            continue  # ended meanwhile, or somebody else's
    return steps


def _started(pid: int) -> str | None:
    """When the process began, in the kernel's ticks; None when there is none. Tells it from a later one of that id."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None


if __name__ == "__main__":
    run_step(resume)
