"""The environment in which steps run: this interpreter, this checkout, threads that wait without spinning."""

import os
import sys
from pathlib import Path

from workflow_scripts import WAITING


def use_this_interpreter(checkout: str) -> None:
    """Put the running interpreter first on PATH and `checkout` first on PYTHONPATH, for the steps' commands."""
    for name, first in (("PATH", str(Path(sys.executable).parent)), ("PYTHONPATH", checkout)):
        rest = [entry for entry in os.environ.get(name, "").split(os.pathsep) if entry and entry != first]
        os.environ[name] = os.pathsep.join([first, *rest])
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
