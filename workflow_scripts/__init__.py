"""flarebench: what the rules call, and what it stands on."""

import gc
import os
import sys
from pathlib import Path

PACKAGE = "workflow_scripts"
ROOT = Path(__file__).resolve().parents[1]
"""The checkout, or the folder that the package is installed in."""

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""OpenMP's threads sleep while they wait for each other. They spin by default: on two cores that other processes keep
busy, a training step took 5 times as long (docs/decisions.md, 37), small layers 20 to 45 times (docs/running.md)."""

# Here, because torch reads these variables when it is imported, and this module is imported before any step's torch.
for _name, _value in WAITING.items():
    os.environ.setdefault(_name, _value)

# `python -m` imports this package on its way to a step, which imports its libraries next. All that they make stays, and
# searching it for reference cycles again and again took a quarter of the imports' time; `run_step` turns the search on.
# A program of another package, which may import this one on its own way, calls no `run_step`.
if sys.argv[:1] == ["-m"] and f"-m {PACKAGE}." in " ".join(sys.orig_argv):
    gc.disable()
