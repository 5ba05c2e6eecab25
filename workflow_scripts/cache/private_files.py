"""Has a folder whose file names are nobody's business still the content that was seen? By digests alone.

As `cache.folders`, for a folder whose names may hold those of patients, and whose times may be dates of examinations:
the record holds a keyed digest of each path, of its size and times, and of its bytes, and nothing can be read from it.
"""

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from workflow_scripts.cache.pseudonyms import Pseudonyms, secret_key
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import BadFile, read_json, sha256_of_file, write_json
from workflow_scripts.core.manifest import Stamp, stamps_below


class Digests(NamedTuple):
    """A file by keyed digests, by the digest of its path."""

    stamp: str
    content: str


class Look(NamedTuple):
    """What the last look saw: the identity that its plan gave the folder, and its files."""

    identity: str
    files: dict[str, Digests]


def stamps_of(root: Path) -> dict[str, Stamp]:
    """Size and times of the files below `root` by path, hidden ones left out.

    Raises:
        BadFile: `root` is not a directory that can be listed; the name of no file is told.
    """
    try:
        return stamps_below(root)
    except BadFile:
        raise BadFile(f"{root}: the name of a file below it is not valid UTF-8; rename it") from None
    except OSError as error:
        raise BadFile(f"{root}: a folder below it cannot be listed ({error.strerror})") from None


def identity_of_private(files: Mapping[str, tuple[Path, Stamp]], record: Path) -> str:
    """Text that changes exactly when the content of `files` is no longer what the look that wrote `record` saw.

    Before the first look it is one digest over all paths, sizes and times. Touched files are read once: their new times
    are noted in `record`, unless it cannot be written.

    Args:
        files: places and stamps by the name under which a file is known, as its path below the folder.
        record: what `write_look` wrote.

    Raises:
        BadFile: `record` lies in the folder itself, which every run would then change.
    """
    _check_outside(files, record)
    pseudonyms = Pseudonyms(secret_key())
    if (look := _read(record)) is None:
        anew = "anew" if record.exists() else ""  # a damaged record: look again, though nothing changed
        return pseudonyms.of("folder", anew + canonical_json({name: stamp for name, (_, stamp) in files.items()}))
    stamps = {pseudonyms.of("path", name): _stamp(pseudonyms, stamp) for name, (_, stamp) in files.items()}
    if stamps == {name: digests.stamp for name, digests in look.files.items()}:
        return look.identity
    now = _digests(files, pseudonyms, look.files)
    if {name: digests.content for name, digests in now.items()} != {
        name: digests.content for name, digests in look.files.items()
    }:
        return pseudonyms.of("folder", canonical_json([look.identity, now]))
    if os.access(record.parent, os.W_OK):
        with suppress(OSError):  # a full disk stops no plan
            _write(record, Look(look.identity, now))
    return look.identity


def _check_outside(files: Mapping[str, tuple[Path, Stamp]], record: Path) -> None:
    """Raise BadFile where `record` lies below the folder of the files that are known by their path below it."""
    below = ((place.parents[name.count("/")], name, place) for name, (place, _) in files.items())
    folder = next((folder for folder, name, place in below if folder / name == place), None)
    if folder is not None and record.resolve().is_relative_to(folder.resolve()):
        raise BadFile(
            f"{folder} holds the results as well, so that every run changes it; name a folder of the source's files "
            "alone, or set `results` to a folder outside"
        )


def write_look(files: Mapping[str, tuple[Path, Stamp]], record: Path, identity: str) -> None:
    """Write what a look saw, for the plans that follow; files whose stamps the last look knows are not read again.

    Args:
        files: as they were listed before they were read.

    Raises:
        BadFile: a file cannot be read, or changed meanwhile; its name is not told.
    """
    pseudonyms = Pseudonyms(secret_key())
    last = _read(record)
    try:
        _write(record, Look(identity, _digests(files, pseudonyms, last.files if last else {})))
        changed = any(Stamp.of(place.stat()) != stamp for place, stamp in files.values())
    except OSError as error:
        raise BadFile(f"a file of the source cannot be read ({error.strerror}); check owners, and run again") from None
    if changed:
        raise BadFile("a file of the source changed while it was read; run again when it rests")


def _digests(
    files: Mapping[str, tuple[Path, Stamp]], pseudonyms: Pseudonyms, known: Mapping[str, Digests]
) -> dict[str, Digests]:
    """The files by digests; only those whose stamp is not the known one are read."""
    result = {}
    for name, (place, stamp) in files.items():
        path, seen = pseudonyms.of("path", name), _stamp(pseudonyms, stamp)
        last = known.get(path)
        same = last is not None and last.stamp == seen
        content = last.content if last and same else pseudonyms.of("content", sha256_of_file(place))
        result[path] = Digests(seen, content)
    return dict(sorted(result.items()))


def _stamp(pseudonyms: Pseudonyms, stamp: Stamp) -> str:
    return pseudonyms.of("stamp", canonical_json(stamp))


def _write(record: Path, look: Look) -> None:
    write_json(record, {"identity": look.identity, "files": {name: list(item) for name, item in look.files.items()}})


def _read(record: Path) -> Look | None:
    if not record.exists():
        return None
    try:
        content = read_json(record)
        files = content["files"]  # type: ignore[index]
        return Look(str(content["identity"]), {name: Digests(*map(str, item)) for name, item in files.items()})  # type: ignore[index]
    except (BadFile, OSError, KeyError, ValueError, TypeError, AttributeError):
        print(f"{record} is damaged: it is ignored and written anew", file=sys.stderr, flush=True)
        return None
