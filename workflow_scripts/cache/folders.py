"""Has a folder that others may change still the content that was seen? Answered in a plan, in fractions of a second.

As git does it: sizes and times of all files are compared with those of the last look, and only files that differ are
read. A file that was touched and holds what it held has not changed.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import BadFile, read_json, sha256_of, sha256_of_file, write_json
from workflow_scripts.core.manifest import Stamp, stamps_below


class Seen(NamedTuple):
    """What the last look saw: the identity that its plan gave the folder, stamps and hashes by path."""

    identity: str
    stamps: dict[str, Stamp]
    hashes: dict[str, str]


def write_seen(record: Path, seen: Seen) -> None:
    """Write what a look saw, for the plans that follow."""
    files = {path: [*stamp, seen.hashes[path]] for path, stamp in seen.stamps.items()}
    write_json(record, {"identity": seen.identity, "files": files})


def read_seen(record: Path) -> Seen | None:
    """What the last look saw; None before the first.

    A damaged record is reported on stderr and counts as none: the next look writes it anew.
    """
    if not record.exists():
        return None
    try:
        content = read_json(record)
        files = content["files"]  # type: ignore[index]
        stamps = {path: Stamp(*map(int, times)) for path, (*times, _) in files.items()}
        hashes = {path: str(sha256) for path, (*_, sha256) in files.items()}
        return Seen(str(content["identity"]), stamps, hashes)  # type: ignore[index]
    except (BadFile, OSError, KeyError, ValueError, TypeError, AttributeError):
        print(f"{record} is damaged: it is ignored and written anew", file=sys.stderr, flush=True)
        return None


def changed_files(root: Path, seen: Seen, stamps: dict[str, Stamp]) -> dict[str, str | None]:
    """Files whose bytes are not what was `seen`: their hash now by path, None for those that are gone.

    Only files whose stamp differs are read.
    """
    differ = [path for path in sorted({*stamps, *seen.stamps}) if stamps.get(path) != seen.stamps.get(path)]
    now = {path: sha256_of_file(root / path) if path in stamps else None for path in differ}
    return {path: sha256 for path, sha256 in now.items() if sha256 != seen.hashes.get(path)}


def identity_of(root: Path, record: Path, counts: Callable[[str], bool] = lambda name: True) -> str:
    """Text that changes exactly when the content of `root` is no longer what the look that wrote `record` saw.

    Before the first look it is a hash over sizes and times. Touched files are read once: their new times are written
    to `record`, unless it cannot be written.
    """
    return identity_of_files(root, record, stamps_below(root, counts))


def identity_of_files(root: Path, record: Path, stamps: dict[str, Stamp]) -> str:
    """`identity_of` for those files of `root` whose `stamps` are given, by relative path."""
    seen = read_seen(record)
    if seen is None:
        look = ["anew", stamps] if record.exists() else stamps  # a damaged record: look again, though nothing changed
        return sha256_of(canonical_json(look).encode())[:16]
    if stamps == seen.stamps:
        return seen.identity
    if changes := changed_files(root, seen, stamps):
        return sha256_of(canonical_json([seen.identity, changes]).encode())[:16]
    note_times(record, seen, stamps)
    return seen.identity


def note_times(record: Path, seen: Seen, stamps: dict[str, Stamp]) -> None:
    """Write the new times of files whose bytes were seen before, where the record can be written."""
    if os.access(record.parent, os.W_OK):
        with suppress(OSError):  # a full disk stops no plan
            write_seen(record, Seen(seen.identity, stamps, seen.hashes))
