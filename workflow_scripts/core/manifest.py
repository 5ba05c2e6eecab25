"""The files of a dataset: listed with size and time, and as a manifest with the SHA-256 of each.

A dataset is what lies below its split folders and has the name of an image, a zip or a question file: nothing else can
be read, so nothing else counts. Folders that links lead to are part of it, wherever they lie; hidden files and folders
are not.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, Self, TypedDict

from tqdm import tqdm

from workflow_scripts.core.files import BadFile, is_unicode, read_json, sha256_of_file, write_json

SPLIT_FOLDERS = {
    "training": "training",
    "validation-public": "validation-public",
    "validation_public": "validation-public",
    "validation-hidden": "validation-hidden",
    "validation_hidden": "validation-hidden",
    "testing": "testing",
}
"""Split folders as datasets spell them, and their one name."""

IMAGE_ENDINGS = (
    *(".png", ".jpg", ".jpeg", ".jfif", ".jp2", ".j2k", ".webp", ".gif", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm"),
)
"""Endings of the names of images, in lower case; a file of another name is none."""

QUESTION_ENDINGS = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz")
"""Endings of the names of question files; those of other forms than `.json` are reported, not read."""

ENDINGS = (*IMAGE_ENDINGS, ".zip", *QUESTION_ENDINGS)
"""Endings of the names of a dataset's files, in lower case."""


class Stamp(NamedTuple):
    """What a file's folder entry says. A tool may set the time of the content's change, but not that of the entry's."""

    size: int  # bytes
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """The stamp of a file with this status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class FileEntry(TypedDict):
    """A file of a manifest."""

    path: str  # relative to the root
    size: int  # bytes
    sha256: str


class Manifest(TypedDict):
    """The files of a dataset, sorted by path, and where they came from."""

    source: dict[str, object]
    files: list[FileEntry]


def stamps_below(
    root: Path, counts: Callable[[str], bool] = lambda name: True, without: Iterable[Path] = ()
) -> dict[str, Stamp]:
    """Size and times of every file below `root` by its relative POSIX path, hidden ones left out, sorted.

    Links are followed; one that leads back to a folder that it lies in is not.

    Args:
        root: folder to list.
        counts: whether a file of this name is looked at.
        without: folders that are not entered.

    Raises:
        BadFile: a name is not valid UTF-8: no table and no manifest can hold it.
    """
    stamps: dict[str, Stamp] = {}
    start = _place(os.stat(root))  # noqa: PTH116
    left_out = {_place(folder.stat()) for folder in without if folder.is_dir()}
    waiting = [(str(root), "", frozenset([start, *left_out]))]
    while waiting:
        folder, prefix, above = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    place = _place(entry.stat())
                    if place not in above:
                        waiting.append((entry.path, f"{prefix}{entry.name}/", above | {place}))
                elif counts(entry.name) and entry.is_file():  # a dangling link is not a file
                    path = prefix + entry.name
                    if not is_unicode(path):
                        raise BadFile(f"{root}: the name of {path!r} is not valid UTF-8; rename it")
                    stamps[path] = Stamp.of(entry.stat())
    return dict(sorted(stamps.items()))


def is_image_name(name: str) -> bool:
    """Whether a file of this name may be an image."""
    return name.lower().endswith(IMAGE_ENDINGS)


def is_dataset_file(name: str) -> bool:
    """Whether a file of this name can be an image, a zip of them, or a question file."""
    return name.lower().endswith(ENDINGS)


def dataset_stamps(root: Path, without: Iterable[Path] = ()) -> dict[str, Stamp]:
    """Size and times of the files of the dataset at `root`, by path, sorted; see the module's text for what counts.

    Args:
        root: folder that holds the split folders.
        without: folders that are no part of it, as results that are written below a split folder.

    Raises:
        BadFile: the name of a file is not valid UTF-8.
    """
    stamps: dict[str, Stamp] = {}
    without = [root, *without]
    for folder in sorted(SPLIT_FOLDERS):
        if (root / folder).is_dir():
            below = stamps_below(root / folder, is_dataset_file, without)
            stamps |= {f"{folder}/{path}": stamp for path, stamp in below.items()}
    return dict(sorted(stamps.items()))


def folders_beside(root: Path) -> list[str]:
    """Names of the folders of `root` that are no split folders, and so no part of the dataset; hidden ones left out."""
    with os.scandir(root) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(name for name in names if not name.startswith(".") and name not in SPLIT_FOLDERS)


def _place(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def take_inventory(
    root: Path,
    source: dict[str, object],
    stamps: Mapping[str, Stamp] | None = None,
    known: Mapping[str, str] | None = None,
) -> Manifest:
    """Describe the files of the dataset at `root`, each read once.

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
    stamps, known = dataset_stamps(root) if stamps is None else stamps, known or {}
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
