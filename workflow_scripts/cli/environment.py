"""The environment in which steps run: this interpreter, this checkout, threads that wait without spinning."""

import os
import sys
from pathlib import Path

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""OpenMP's threads sleep while they wait for each other. They spin by default: on two cores that other processes keep
busy, a training step then took 5 times as long (docs/performance.md)."""


def use_this_interpreter(checkout: str) -> None:
    """Put the running interpreter first on PATH and `checkout` first on PYTHONPATH, for the steps' commands."""
    for name, first in (("PATH", str(Path(sys.executable).parent)), ("PYTHONPATH", checkout)):
        rest = [entry for entry in os.environ.get(name, "").split(os.pathsep) if entry and entry != first]
        os.environ[name] = os.pathsep.join([first, *rest])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
