"""The content-addressed store, in two shapes: records are lines of JSON, entries are folders of files.

Both carry SHA-256 checksums. What does not match its checksum is reported in one sentence on stderr and never handed
out, so that its work is done again. Several processes, of several machines, may use one folder at a time.
"""

import errno
import fcntl
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from uuid import uuid4

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of, sha256_of_file, write_json

ENTRY = "entry.json"
"""In an entry's folder, its last file: the parts of its key, and size and SHA-256 of each other file."""

ABOUT = "about.json"
"""In a folder of records, for those who read it: the parts that all keys in it share."""

ABANDONED = 24 * 3600
"""Seconds after which the temporary folder of a writer that was killed is removed."""


def report(message: str) -> None:
    """Say on stderr that something stored is not what was stored."""
    print(message, file=sys.stderr, flush=True)


class RecordStore:
    """Small values by key, in JSON lines; each writer appends to a file of its own.

    A line that a kill cut short is no record. A complete line that is not valid is reported and ignored.
    """

    def __init__(self, folder: Path, about: Mapping[str, object] | None = None) -> None:
        self.folder = folder
        self._about = about
        self._stream: BinaryIO | None = None

    def read(self, wanted: Container[str] | None = None) -> dict[str, Any]:
        """The stored values by key, or those of the keys `wanted`."""
        values: dict[str, Any] = {}
        for file in sorted(self.folder.glob("*.jsonl")):
            for number, line in enumerate(file.read_bytes().splitlines(keepends=True), 1):
                if not line.endswith(b"\n"):
                    continue  # cut short by a kill, or being written
                record = _record_of(line)
                if record is None:
                    report(f"{file}, line {number} is not what was stored: it is ignored, and its work is done again")
                elif wanted is None or record[0] in wanted:
                    values.setdefault(*record)
        return values

    def put(self, key: str, value: object) -> None:
        """Store a value at once; it outlives this process."""
        if self._stream is None:
            self._stream = self._open()
        line = {"key": key, "sha256": _checksum(key, value), "value": value}
        self._stream.write(json.dumps(line).encode() + b"\n")
        self._stream.flush()

    def _open(self) -> BinaryIO:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._about is not None and not (self.folder / ABOUT).exists():
            write_json(self.folder / ABOUT, self._about)
        return (self.folder / f"{uuid4().hex}.jsonl").open("xb")

    def close(self) -> None:
        """Close this writer's file; a later `put` opens another."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def __enter__(self) -> "RecordStore":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _checksum(key: str, value: object) -> str:
    return sha256_of(canonical_json([key, value]).encode("utf-8", "surrogatepass"))


def _record_of(line: bytes) -> tuple[str, Any] | None:
    """Key and value of a line; None where it is not what was written."""
    try:
        record = json.loads(line)
        key, value = record["key"], record["value"]
        return (key, value) if record["sha256"] == _checksum(key, value) else None
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


class EntryStore:
    """Folders of files by key, published whole by a rename.

    `get` reads every byte of an entry, so that a caller computes with what was stored or not at all.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Where the entry of `key` lies once it is published."""
        return self.folder / key

    def stored_keys(self) -> list[str]:
        """Keys of the entries that are there, unverified, sorted."""
        return sorted(file.parent.name for file in self.folder.glob(f"*/{ENTRY}") if file.parent.name[0] != ".")

    def parts(self, key: str) -> dict[str, Any]:
        """The named parts of an entry's key, unverified; none where they cannot be read."""
        described = _described(self.path(key))
        return described["parts"] if described else {}

    def get(self, key: str) -> Path | None:
        """The folder of an entry whose bytes are what was published, or None.

        A damaged entry is reported and removed.
        """
        place = self.path(key)
        while place.exists():
            if fault_of(place) is None:
                return place
            self._remove(place)
        return None

    @contextmanager
    def put(self, key: str, parts: Mapping[str, object]) -> Iterator[Path]:
        """Yield an empty folder to fill; it becomes the entry of `key` when the block ends without an error.

        Where another process publishes the same entry first, that one stands. Files become readable for whomever the
        umask allows, whatever modes their writers gave them.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        temporary = self.folder / f".{key}.{uuid4().hex}"
        temporary.mkdir()
        try:
            yield temporary
            files = {name: _description(temporary / name) for name in _files_below(temporary)}
            described = {"key": key, "parts": parts, "files": files}
            write_json(temporary / ENTRY, described | {"sha256": _own_checksum(described)})
            usual_modes(temporary)
            self._publish(temporary, key)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _publish(self, temporary: Path, key: str) -> None:
        while True:
            try:
                temporary.rename(self.path(key))
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
            if self.get(key) is not None:  # a damaged one is removed by this, and gives way
                return

    def _remove(self, place: Path) -> None:
        """Remove a damaged entry, unless another process has removed it, or put a whole one in its place, meanwhile."""
        with self._alone():
            if not place.exists() or (fault := fault_of(place)) is None:
                return
            report(f"{place} is not what was stored ({fault}): it is removed, and its work is done again")
            aside = place.with_name(f".{place.name}.{uuid4().hex}")
            place.rename(aside)
        shutil.rmtree(aside, ignore_errors=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Wait until no other process removes an entry."""
        handle = os.open(self.folder / ".lock", os.O_RDONLY | os.O_CREAT, 0o666)
        try:
            with suppress(OSError):  # a file system without locks: the check before the removal stays
                fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def _sweep(self) -> None:
        """Remove what killed writers left."""
        for temporary in self.folder.glob(".*.*"):
            try:
                if temporary.stat().st_mtime < time.time() - ABANDONED:
                    shutil.rmtree(temporary, ignore_errors=True)
            except FileNotFoundError:
                continue


def fault_of(place: Path) -> str | None:
    """What is wrong with an entry's folder, or None where all its bytes are what was published."""
    described = _described(place)
    if described is None:
        return f"{ENTRY} is missing or damaged"
    files = described["files"]
    try:
        if _files_below(place) != sorted(files):
            return "its files are others"
    except OSError as error:
        return f"it cannot be listed: {error.strerror}"
    return next((fault for name in files if (fault := _file_fault(place / name, files[name])) is not None), None)


def fault_of_file(file: Path) -> str | None:
    """What is wrong with a file in the folder of an entry, or None where its bytes are what was published."""
    described = _described(file.parent)
    if described is None or file.name not in described["files"]:
        return f"{ENTRY} is missing, damaged, or does not name {file.name}"
    return _file_fault(file, described["files"][file.name])


def _file_fault(file: Path, stored: Mapping[str, object]) -> str | None:
    try:
        if file.stat().st_size != stored["size"]:
            return f"{file.name} has another size"
        return None if sha256_of_file(file) == stored["sha256"] else f"{file.name} has another checksum"
    except OSError as error:
        return f"{file.name} cannot be read: {error.strerror}"


def unfinished(path: Path) -> Path:
    """A name beside the folder `path` where nothing is, for one that is to take its place."""
    folder = path.with_name(f".{path.name}.unfinished")
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def put_in_place(path: Path, folder: Path) -> None:
    """Let `folder` take the place of the folder `path`, readable by whom the umask lets."""
    usual_modes(folder)
    shutil.rmtree(path, ignore_errors=True)
    folder.replace(path)


def usual_modes(folder: Path) -> None:
    """Give `folder` and all below it the modes that the umask allows.

    safetensors writes files that only their owner may read.
    """
    mask = os.umask(0)
    os.umask(mask)
    for path in (folder, *folder.rglob("*")):
        bits = 0o777 if path.is_dir() else 0o666
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~0o777 | bits & ~mask)  # set-group-ID of a shared folder stays


def _described(place: Path) -> dict[str, Any] | None:
    """What an entry says of itself; None where its checksum, or its folder's name, says otherwise."""
    try:
        described: dict[str, Any] = json.loads((place / ENTRY).read_bytes())
        checksum, key = described.pop("sha256"), str(described["key"])
        whole = checksum == _own_checksum(described) and place.name.removeprefix(".").startswith(key)
        return described if whole and isinstance(described["parts"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _own_checksum(described: Mapping[str, object]) -> str:
    return sha256_of(canonical_json(described).encode("utf-8", "surrogatepass"))


def _description(file: Path) -> dict[str, object]:
    return {"size": file.stat().st_size, "sha256": sha256_of_file(file)}


def _files_below(place: Path) -> list[str]:
    """Relative POSIX paths of an entry's files, sorted."""
    files = (file.relative_to(place) for file in place.rglob("*") if not file.is_dir())
    return sorted(str(file) for file in files if str(file) != ENTRY)
