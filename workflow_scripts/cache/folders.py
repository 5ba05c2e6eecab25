"""Has a folder of somebody else's changed? Told from a plan, in fractions of a second, by content.

As git does it: sizes and times of all files are compared with those of the last inventory, and only files that differ
are read. A file that was touched and holds what it held has not changed.
"""

import os
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import read_json, sha256_of, sha256_of_file, write_json


class Stamp(NamedTuple):
    """What a file's folder entry says."""

    size: int
    mtime_ns: int


class Seen(NamedTuple):
    """What the last inventory saw: the identity that its plan gave the tree, stamps and hashes by path."""

    identity: str
    stamps: dict[str, Stamp]
    hashes: dict[str, str]


def stamps_below(root: Path) -> dict[str, Stamp]:
    """Size and time of every file below `tree` by its relative POSIX path, hidden ones left out, sorted."""
    found: dict[str, Stamp] = {}
    waiting = [(str(root), "")]
    while waiting:
        folder, prefix = waiting.pop()
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append((entry.path, f"{prefix}{entry.name}/"))
                elif entry.is_file():  # a dangling link is no file; rows that name it are quarantined
                    told = entry.stat()
                    found[prefix + entry.name] = Stamp(told.st_size, told.st_mtime_ns)
    return dict(sorted(found.items()))


def write_seen(record: Path, seen: Seen) -> None:
    """Keep what an inventory saw, for the plans that follow."""
    files = {path: [*stamp, seen.hashes[path]] for path, stamp in seen.stamps.items()}
    write_json(record, {"identity": seen.identity, "files": files})


def read_seen(record: Path) -> Seen | None:
    """What the last inventory saw; None before the first.

    Raises:
        BadFile: the record is damaged.
    """
    if not record.exists():
        return None
    told = read_json(record)
    stamps = {path: Stamp(size, mtime) for path, (size, mtime, _) in told["files"].items()}
    return Seen(told["identity"], stamps, {path: entry[2] for path, entry in told["files"].items()})


def identity_of(root: Path, record: Path) -> str:
    """Text that changes exactly when the content of `tree` is no longer what the inventory behind `record` saw.

    Before the first inventory it is a hash over sizes and times. Touched files are read once: their new times are
    kept in `record`, unless it cannot be written.
    """
    stamps = stamps_below(root)
    seen = read_seen(record)
    if seen is None:
        return sha256_of(canonical_json(stamps).encode())[:16]
    differ = [path for path in sorted({*stamps, *seen.stamps}) if stamps.get(path) != seen.stamps.get(path)]
    if not differ:
        return seen.identity
    now = {path: sha256_of_file(root / path) if path in stamps else None for path in differ}
    changed = {path: found for path, found in now.items() if found != seen.hashes.get(path)}
    if changed:
        return sha256_of(canonical_json([seen.identity, changed]).encode())[:16]
    if os.access(record.parent, os.W_OK):
        write_seen(record, Seen(seen.identity, stamps, seen.hashes))
    return seen.identity
