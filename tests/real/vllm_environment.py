"""vLLM for a CPU in a virtual environment of its own: it pins another transformers than the workflow.

    python -m tests.real.vllm_environment

makes it below the user's cache, once for each version of `envs/requirements-vllm.txt`.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.real.checkpoint import cache_folder
from workflow_scripts import ROOT
from workflow_scripts.core.files import sha256_of_file

REQUIREMENTS = ROOT / "envs" / "requirements-vllm.txt"
GIGABYTES = 8
"""Free disk that installing needs: twice what is installed."""

REGISTERS = "@torch.library.register_fake("
WHERE_COMPILED = (
    "@(torch.library.register_fake if torchvision.extension._has_ops() else lambda name: lambda fake: fake)("
)


def vllm_python() -> Path:
    """The environment's Python; made first where it is not there yet, which takes minutes.

    Raises:
        RuntimeError: the disk is too full, or an installation failed, with its last words.
    """
    folder = cache_folder() / f"vllm-{sha256_of_file(REQUIREMENTS)[:12]}"
    python = folder / "bin" / "python"
    if (folder / "ready").is_file():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(folder.parent).free / 1e9) < GIGABYTES:
        raise RuntimeError(f"{folder.parent} has {free:.1f} GB free; vLLM's environment needs {GIGABYTES}: free some")
    shutil.rmtree(folder, ignore_errors=True)
    _run(sys.executable, "-m", "venv", folder)
    _run(python, "-m", "pip", "install", "--quiet", "--no-deps", "-r", REQUIREMENTS)
    _leave_out_what_was_not_compiled(folder)
    _run(python, "-c", "import torchvision, vllm")
    (folder / "ready").touch()
    return python


def _leave_out_what_was_not_compiled(folder: Path) -> None:
    """Let torchvision be imported beside a torch for CPUs: its GPU build describes operators that are not there."""
    for file in folder.glob("lib/python*/site-packages/torchvision/_meta_registrations.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(f"\n{REGISTERS}", f"\n{WHERE_COMPILED}"), encoding="utf-8")


def _run(*command: object) -> None:
    done = subprocess.run(
        list(map(str, command)), env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {done.returncode}: {done.stderr[-3000:]}")


if __name__ == "__main__":
    print(vllm_python())
