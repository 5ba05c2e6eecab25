"""Sidecar files that record what a file was made of and where; nothing of this enters a table that is compared."""

import subprocess
import sys
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from workflow_scripts import ROOT
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


def circumstances() -> dict[str, object]:
    """Version and git state of the workflow, packages, Python, GPUs and the time."""
    return {
        "workflow": workflow_version(),
        "git": _git_state(),
        "python": sys.version.split()[0],
        "packages": {name: installed for name in PACKAGES if (installed := _version(name))},
        "gpus": _output_of("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader").splitlines(),
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def write_provenance(path: Path, about: Mapping[str, object]) -> None:
    """Write `about` and the circumstances to `path`."""
    write_json(path, {**about, **circumstances()})


def workflow_version() -> str | None:
    """The version in pyproject.toml, the one place that states it: of this checkout, else of the installed package."""
    project = ROOT / "pyproject.toml"
    if project.is_file():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    return _version("flarebench")


def _git_state() -> dict[str, object] | None:
    """Commit of this checkout and whether tracked files differ from it; None outside git and where installed."""
    if not (ROOT / "Snakefile").is_file():
        return None
    commit = _output_of("git", "-C", str(ROOT), "rev-parse", "HEAD")
    if not commit:
        return None
    return {
        "commit": commit,
        "dirty": bool(_output_of("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _output_of(*command: str) -> str:
    """What a command prints; nothing where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
