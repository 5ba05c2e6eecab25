"""A SLURM cluster of one node on this machine's loopback, from Debian's packages, for tests.

python -m tests.slurm.cluster up FOLDER [--install]
python -m tests.slurm.cluster down FOLDER

It has a partition `cpu`, a partition `gpu` with fake GPUs, and a partition `urgent` whose jobs preempt those of `gpu`
and send them back to the queue. Queueing, time limits, memory kills, preemption and CUDA_VISIBLE_DEVICES are SLURM's
own. It needs root, and refuses a machine that has a SLURM of its own.
"""

import argparse
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

CONFIGURATION = Path("/etc/slurm/slurm.conf")
"""Where it must lie: jobs lose every SLURM_* variable, SLURM_CONF too, before they call srun."""
GRES = CONFIGURATION.with_name("gres.conf")
CPUS, MEMORY_MB, GPUS = 16, 200_000, 2
"""What the node claims to have. Jobs keep their real requests on a small machine; a job that uses more than it asked
for is killed all the same."""
PACKAGES = ("slurm-wlm", "munge")


class NoCluster(Exception):
    """Why no cluster can be started here."""


def start(folder: Path, install: bool = False) -> None:
    """Start the cluster with its state in `folder`; return when its node is idle.

    Raises:
        NoCluster: not root, no packages, or this machine has a SLURM of its own.
    """
    if os.geteuid() != 0:
        raise NoCluster("a test cluster needs root")
    _clear_dead_cluster()
    for place in (CONFIGURATION, GRES):
        if place.exists() or place.is_symlink():
            raise NoCluster(f"this machine has a SLURM of its own: {place}")
    if not shutil.which("slurmctld") or not shutil.which("munged"):
        if not install:
            raise NoCluster(f"packages are missing: apt-get install -y --no-install-recommends {' '.join(PACKAGES)}")
        _install()
    for name in ("etc", "state", "spool", "log", "run", "dev"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    _start_munge(folder)
    for number in range(GPUS):
        # slurmd takes character devices alone for GPUs; further nodes of the null device will do.
        device = folder / "dev" / f"fakegpu{number}"
        if not device.exists():
            os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    _link(CONFIGURATION, folder / "etc/slurm.conf", _slurm_conf(folder))
    _link(GRES, folder / "etc/gres.conf", f"Name=gpu Type=fake File={folder}/dev/fakegpu[0-{GPUS - 1}]\n")
    for daemon in ("slurmctld", "slurmd"):
        subprocess.run([f"/usr/sbin/{daemon}", "-c"], check=True, env=_environment(), stdout=subprocess.DEVNULL)
    _wait_until(lambda: "idle" in _said("sinfo", "--noheader", "--format=%T"), "the node is not idle", 30)


def stop(folder: Path) -> None:
    """Cancel every job, end the daemons that `start` began, and take their configuration away."""
    ours = CONFIGURATION.is_symlink() and CONFIGURATION.readlink().parent.parent == folder
    if ours:
        subprocess.run(["scancel", "--user=root"], env=_environment(), stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while _said("squeue", "--noheader") and time.monotonic() < deadline:
            time.sleep(0.2)
    for daemon in ("slurmd", "slurmctld", "munged"):
        record = folder / "run" / f"{daemon}.pid"
        if record.exists() and record.read_text().strip():
            _end(int(record.read_text()), daemon)
            record.unlink(missing_ok=True)
    if ours:
        CONFIGURATION.unlink()
        GRES.unlink(missing_ok=True)


def _clear_dead_cluster() -> None:
    """Take away the configuration that a killed run of these tests left, where no daemon of it is alive."""
    folder = CONFIGURATION.readlink().parent.parent if CONFIGURATION.is_symlink() else None
    if folder is None or not folder.name.startswith("flarebench-slurm-"):
        return
    if not any(_alive(folder / "run" / f"{daemon}.pid", daemon) for daemon in ("slurmctld", "slurmd")):
        CONFIGURATION.unlink()
        GRES.unlink(missing_ok=True)


def _alive(record: Path, daemon: str) -> bool:
    """Whether the process of a daemon's record runs, and is that daemon."""
    if not record.exists() or not record.read_text().strip():
        return False
    command = Path(f"/proc/{record.read_text().strip()}/comm")
    return command.exists() and command.read_text().strip().startswith(daemon)


def _install() -> None:
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (["apt-get", "update"], ["apt-get", "install", "-y", "--no-install-recommends", *PACKAGES]):
        try:
            done = subprocess.run(command, env=environment, **quiet)
        except FileNotFoundError:
            raise NoCluster("no apt-get here to install slurm-wlm and munge") from None
        if done.returncode:
            raise NoCluster(f"`{' '.join(command)}` failed: {done.stdout.strip().splitlines()[-1]}")


def _start_munge(folder: Path) -> None:
    """Munge, unless one answers already; its folders must belong to its own user."""
    if _munge_answers():
        return
    if not Path("/etc/munge/munge.key").exists():
        subprocess.run(["mungekey", "--create"], check=True)
        shutil.chown("/etc/munge/munge.key", "munge", "munge")
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    Path("/run/munge").chmod(0o755)
    subprocess.run(["runuser", "-u", "munge", "--", "/usr/sbin/munged"], check=True)
    _wait_until(_munge_answers, "munged does not answer", 10)
    shutil.copy("/run/munge/munged.pid", folder / "run/munged.pid")


def _munge_answers() -> bool:
    return bool(_said("munge", "--no-input"))


def _slurm_conf(folder: Path) -> str:
    host = socket.gethostname().partition(".")[0]
    return f"""\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.log
# A job that was sent back to the queue waits until its credential has run out: 2 minutes by default.
AuthInfo=cred_expire=5
MpiDefault=none
ReturnToService=2
# No cgroups: processes are found through /proc, and a job over its memory is killed by the accounting, as FAILED.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
GresTypes=gpu
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=2
MinJobAge=3600
SchedulerParameters=bf_interval=1,batch_sched_delay=0,sched_interval=5
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={CPUS} Boards=1 SocketsPerBoard=1 CoresPerSocket={CPUS} ThreadsPerCore=1 \
RealMemory={MEMORY_MB} Gres=gpu:fake:{GPUS} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=24:00:00 PriorityTier=1
PartitionName=gpu Nodes={host} MaxTime=24:00:00 PriorityTier=1
PartitionName=urgent Nodes={host} MaxTime=24:00:00 PriorityTier=9
"""


def _link(place: Path, target: Path, text: str) -> None:
    target.write_text(text)
    place.parent.mkdir(exist_ok=True)
    place.symlink_to(target)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}


def _said(*command: str) -> str:
    return subprocess.run(command, env=_environment(), capture_output=True, text=True).stdout


def _wait_until(holds, otherwise: str, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise NoCluster(f"{otherwise} after {seconds} s")
        time.sleep(0.1)


def _end(pid: int, name: str) -> None:
    """End the process `pid` if it still is the daemon `name`."""
    comm = Path(f"/proc/{pid}/comm")
    if comm.exists() and comm.read_text().strip() == name:
        os.kill(pid, signal.SIGTERM)
        _wait_until(lambda: not comm.exists(), f"{name} does not end", 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["up", "down"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--install", action="store_true", help="install Debian's packages where they are missing")
    given = parser.parse_args()
    try:
        if given.what == "up":
            start(given.folder.resolve(), given.install)
        else:
            stop(given.folder.resolve())
    except NoCluster as reason:
        sys.exit(f"error: {reason}")


if __name__ == "__main__":
    main()
