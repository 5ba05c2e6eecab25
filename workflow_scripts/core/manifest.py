"""The files below a dataset's root: listed with size and time, and as a manifest with the SHA-256 of each.

Folders that links lead to are part of the dataset, wherever they lie; hidden files and folders are not.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict

from tqdm import tqdm

from workflow_scripts.core.files import BadFile, read_json, sha256_of_file, write_json
from workflow_scripts.core.json_values import is_unicode


class Stamp(NamedTuple):
    """What a file's folder entry says. A tool may set the time of the content's change, but not that of the entry's."""

    size: int  # bytes
    mtime_ns: int
    ctime_ns: int


class FileEntry(TypedDict):
    """A file of a manifest."""

    path: str  # relative to the root
    size: int  # bytes
    sha256: str


class Manifest(TypedDict):
    """The files of a dataset, sorted by path, and where they came from."""

    source: dict[str, object]
    files: list[FileEntry]


def stamps_below(root: Path, counts: Callable[[str], bool] = lambda name: True) -> dict[str, Stamp]:
    """Size and times of every file below `root` by its relative POSIX path, hidden ones left out, sorted.

    Links are followed; one that leads back to a folder that it lies in is not.

    Args:
        root: folder to list.
        counts: whether a file of this name is looked at.

    Raises:
        BadFile: a name is not valid UTF-8: no table and no manifest can hold it.
    """
    stamps: dict[str, Stamp] = {}
    waiting = [(str(root), "", frozenset([_place(os.stat(root))]))]  # noqa: PTH116
    while waiting:
        folder, prefix, above = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if not is_unicode(entry.name):
                    raise BadFile(f"{root}: the name of {prefix + entry.name!r} is not valid UTF-8; rename the file")
                if entry.is_dir():
                    place = _place(entry.stat())
                    if place not in above:
                        waiting.append((entry.path, f"{prefix}{entry.name}/", above | {place}))
                elif entry.is_file() and counts(entry.name):  # a dangling link is not a file
                    status = entry.stat()
                    stamps[prefix + entry.name] = Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return dict(sorted(stamps.items()))


def _place(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def take_inventory(
    root: Path,
    source: dict[str, object],
    stamps: Mapping[str, Stamp] | None = None,
    known: Mapping[str, str] | None = None,
) -> Manifest:
    """Describe the files below `root`, each read once.

    Args:
        root: folder that holds the split folders.
        source: what the dataset is (a `datasets` entry, with the resolved revision for one of the hub).
        stamps: the files, where they were listed already.
        known: SHA-256 by path of files that need not be read.

    Raises:
        BadFile: `root` is not a directory, or a file's name is not valid UTF-8.
    """
    if not root.is_dir():
        raise BadFile(f"{root} is not a directory; give the folder that holds `training/`")
    stamps, known = stamps_below(root) if stamps is None else stamps, known or {}
    files: list[FileEntry] = []
    for path, stamp in tqdm(stamps.items(), desc="hash files", unit="file", mininterval=1):
        digest = known[path] if path in known else sha256_of_file(root / path)
        files.append({"path": path, "size": stamp.size, "sha256": digest})
    return {"source": source, "files": files}


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write a manifest, atomically."""
    write_json(path, manifest)


def read_manifest(path: Path) -> dict[str, FileEntry]:
    """The files of a manifest by their path.

    Raises:
        BadFile: the manifest is missing or damaged.
    """
    manifest = read_json(path)
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), list):
        raise BadFile(f"{path} is not a manifest; delete it and run again")
    return {entry["path"]: entry for entry in manifest["files"]}
