"""What a file was made of and where, in a sidecar beside it; nothing of this enters a table that is compared."""

import subprocess
import sys
import tomllib
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from workflow_scripts.cache.fingerprints import ROOT
from workflow_scripts.core.files import write_json

PACKAGES = [
    "torch",
    "transformers",
    "peft",
    "trl",
    "bitsandbytes",
    "accelerate",
    "datasets",
    "numpy",
    "pyarrow",
    "scikit-learn",
    "snakemake",
]


def circumstances() -> dict:
    """Version and git state of the workflow, packages, Python, GPUs and the time."""
    return {
        "workflow": tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
        if (ROOT / "pyproject.toml").is_file()
        else None,
        "git": _git_state(),
        "python": sys.version.split()[0],
        "packages": {name: found for name in PACKAGES if (found := _version(name))},
        "gpus": _said("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_provenance(path: Path, about: dict) -> None:
    """Write `about` and the circumstances to `path`."""
    write_json(path, about | circumstances())


def _git_state() -> dict | None:
    """Commit of this checkout and whether tracked files differ from it; None outside git."""
    commit = _said("git", "-C", str(ROOT), "rev-parse", "HEAD")
    if not commit:
        return None
    return {
        "commit": commit,
        "dirty": bool(_said("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _said(*command: str) -> str:
    """What a command printed; nothing where it is not there or failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
