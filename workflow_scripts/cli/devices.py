"""GPUs for the jobs of a workstation: `python -m workflow_scripts.cli.devices COUNT -- COMMAND…`.

Snakemake counts GPUs and assigns none. This takes a lock on as many devices as the job asks for, shows the command
these alone, and becomes the command: the locks end with its process, however that ends. Under SLURM, which assigns
devices itself, and where `FLAREBENCH_DEVICE=cpu` asks for the CPU, nothing is done.
"""

import argparse
import fcntl
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step

VARIABLE = "CUDA_VISIBLE_DEVICES"


def devices_in_sight() -> list[str]:
    """The user's choice in `CUDA_VISIBLE_DEVICES`, else the UUIDs of all GPUs of this machine."""
    if VARIABLE in os.environ:
        return [device.strip() for device in os.environ[VARIABLE].split(",") if device.strip()]
    return _uuids()


def _uuids() -> list[str]:
    try:
        told = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return re.findall(r"^GPU \d+: .*\(UUID: (\S+)\)$", told.stdout, re.M) if told.returncode == 0 else []


def take(count: int, folder: Path, pause: float = 1.0) -> list[str]:
    """Lock `count` devices for this process and what it becomes; waits while others hold them.

    Raises:
        Refused: the machine has fewer.
    """
    devices, uuids = devices_in_sight(), _uuids()
    if len(devices) < count:
        raise Refused(
            f"the job asks for {count} GPUs and {len(devices)} are in sight: set the model's or judge's `gpus`, or run "
            f"where there are more ({VARIABLE} is {os.environ.get(VARIABLE, 'not set')})"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    waited = False
    while True:
        with (folder / "table").open("w") as table:  # one job chooses at a time: no two wait for each other's half
            fcntl.flock(table, fcntl.LOCK_EX)
            held: dict[str, int] = {}
            for device in devices:
                # A number and a UUID of one card have one lock.
                name = uuids[int(device)] if device.isdigit() and int(device) < len(uuids) else device
                lock = os.open(folder / name.replace("/", "_"), os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(lock)
                    continue
                held[device] = lock
                if len(held) == count:
                    for lock in held.values():
                        os.set_inheritable(lock, True)
                    return list(held)
            for lock in held.values():
                os.close(lock)
        if not waited:
            print(f"waiting for {count} of {len(devices)} GPUs: other jobs hold them", flush=True)
            waited = True
        time.sleep(pause)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("count", type=int, help="GPUs of the job")
    parser.add_argument("command", nargs="+", help="what to run on them")
    given = parser.parse_args()
    on_the_cpu = os.environ.get("FLAREBENCH_DEVICE") == "cpu"
    if given.count and not on_the_cpu and "SLURM_JOB_ID" not in os.environ:
        taken = take(given.count, Path(tempfile.gettempdir()) / f"flarebench-devices-{os.getuid()}")
        os.environ[VARIABLE] = ",".join(taken)
        print(f"GPUs of this job: {os.environ[VARIABLE]}", flush=True)
    os.execvp(given.command[0], given.command)


if __name__ == "__main__":
    run_step(main)
