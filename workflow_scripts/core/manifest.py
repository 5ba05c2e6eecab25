"""The manifest of a tree: every file with its size and SHA-256, and where the tree came from."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from workflow_scripts.cache.folders import Seen, stamps_below
from workflow_scripts.core.files import BadFile, read_json, sha256_of_file, write_json


def files_below(root: Path) -> Iterator[str]:
    """Relative POSIX paths of all files below `tree`, hidden ones left out, sorted."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        prefix = Path(folder).relative_to(root).as_posix()
        found += [name if prefix == "." else f"{prefix}/{name}" for name in names if not name.startswith(".")]
    return iter(sorted(found))


def take_inventory(root: Path, source: dict, seen: Seen | None = None) -> dict:
    """Read every file of `tree` once and describe it.

    Args:
        source: what the tree is (a `datasets` entry, with the resolved revision for a hub one).
        seen: an earlier inventory; files with the size and time that it saw are not read again.

    Returns:
        `{"source": …, "files": [{"path", "size", "sha256"}, …]}`, sorted by path.

    Raises:
        BadFile: `tree` is no folder.
    """
    if not root.is_dir():
        raise BadFile(f"{root} is not a folder; give the folder that holds `training/`")
    entries = []
    for path, stamp in tqdm(stamps_below(root).items(), desc="hash files", unit="file", mininterval=1):
        known = seen is not None and seen.stamps.get(path) == stamp
        digest = seen.hashes[path] if known else sha256_of_file(root / path)
        entries.append({"path": path, "size": stamp.size, "sha256": digest})
    return {"source": source, "files": entries}


def write_manifest(path: Path, manifest: dict) -> None:
    """Write a manifest, atomically."""
    write_json(path, manifest)


def read_manifest(path: Path) -> dict[str, dict]:
    """The files of a manifest by their path.

    Raises:
        BadFile: the manifest is missing or damaged.
    """
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
        raise BadFile(f"{path} is no manifest; delete it and run again")
    return {entry["path"]: entry for entry in manifest["files"]}


def key_of(*parts: str) -> str:
    """A short stable key for work that depends on `parts` alone."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:32]
