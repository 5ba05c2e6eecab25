"""GPUs for the jobs of a workstation: `python -m workflow_scripts.cli.devices COUNT -- COMMAND…`.

Snakemake counts GPUs and assigns none. This takes a lock on as many devices as the job asks for, shows the command
these alone, and becomes the command: the locks end with its process, however that ends. Under SLURM, which assigns
devices itself, and where `FLAREBENCH_DEVICE=cpu` asks for the CPU, it takes none. The command never reaches for the
hub: whatever it loads was fetched by a rule that runs where Snakemake runs.
"""

import fcntl
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

from tyro.conf import Positional

from workflow_scripts.core.command import Refused, run_step

VARIABLE = "CUDA_VISIBLE_DEVICES"


def devices_in_sight() -> list[str]:
    """The user's choice in `CUDA_VISIBLE_DEVICES`, else the UUIDs of all GPUs of this machine."""
    if VARIABLE in os.environ:
        return [device.strip() for device in os.environ[VARIABLE].split(",") if device.strip()]
    return _uuids()


def _uuids() -> list[str]:
    try:
        listing = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return []
    return re.findall(r"^GPU \d+: .*\(UUID: (\S+)\)$", listing.stdout, re.M) if listing.returncode == 0 else []


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
            locks: dict[str, int] = {}
            for device in devices:
                # A number and a UUID of one card have one lock.
                name = uuids[int(device)] if device.isdigit() and int(device) < len(uuids) else device
                lock = os.open(folder / name.replace("/", "_"), os.O_RDWR | os.O_CREAT, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    os.close(lock)
                    continue
                locks[device] = lock
                if len(locks) == count:
                    for lock in locks.values():
                        os.set_inheritable(lock, True)
                    return list(locks)
            for lock in locks.values():
                os.close(lock)
        if not waited:
            print(f"waiting for {count} of {len(devices)} GPUs: other jobs hold them", flush=True)
            waited = True
        time.sleep(pause)


def run_on_devices(count: Positional[int], command: Positional[list[str]]) -> None:
    """Become a command that sees as many GPUs as it asks for, and these alone.

    Args:
        count: GPUs of the job.
        command: what to run on them, after `--`.
    """
    if count and os.environ.get("FLAREBENCH_DEVICE") != "cpu" and "SLURM_JOB_ID" not in os.environ:
        devices = take(count, Path(tempfile.gettempdir()) / f"flarebench-devices-{os.getuid()}")
        os.environ[VARIABLE] = ",".join(devices)
        print(f"GPUs of this job: {os.environ[VARIABLE]}", flush=True)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.execvp(command[0], command)


if __name__ == "__main__":
    run_step(run_on_devices)
