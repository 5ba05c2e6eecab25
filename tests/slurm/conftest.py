"""A cluster for the tests of this folder, and runs through the real profile."""

import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.slurm.cluster import NoCluster, start, stop
from tests.slurm.runs import FAKE_GPUS, gpu_tagged
from tests.workflow.runs import checkout, snakemake


class Undisturbed(NamedTuple):
    folder: Path
    seconds: float


@pytest.fixture(scope="session")
def cluster():
    """The folder of a running cluster, or a reason why there can be none here.

    FLAREBENCH_SLURM names one that `python -m tests.slurm.cluster up` started, to use it again and again.
    """
    if "FLAREBENCH_SLURM" in os.environ:
        yield Path(os.environ["FLAREBENCH_SLURM"])
        return
    folder = Path(tempfile.mkdtemp(prefix="flarebench-slurm-"))
    try:
        start(folder, install=True)
        yield folder
    except NoCluster as reason:
        pytest.skip(str(reason))
    finally:
        stop(folder)
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory) -> Undisturbed:
    """The smoke run with GPU-tagged jobs, without a cluster, and how long it took."""
    folder = checkout(tmp_path_factory.mktemp("undisturbed"))
    started = time.monotonic()
    snakemake(folder, *gpu_tagged(folder), env=os.environ | FAKE_GPUS)
    return Undisturbed(folder, time.monotonic() - started)
