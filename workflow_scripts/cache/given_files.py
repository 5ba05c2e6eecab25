"""A single file that somebody gives and may replace: a plan looks at its size and times, a job at its bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workflow_scripts.cache.folders import Seen, identity_of_files, write_seen
from workflow_scripts.core.files import BadFile, sha256_of_file
from workflow_scripts.core.manifest import Stamp


def identity_of_file(file: Path, record: Path) -> str:
    """For a plan: text that changes exactly when the bytes of `file` are no longer what the look at `record` saw.

    Whatever the file's time says: an older file in its place is another file. Empty where there is no file.
    """
    stamps = _stamps_of(file)
    return identity_of_files(file.parent, record, stamps) if stamps else ""


@contextmanager
def reading(file: Path, record: Path, identity: str) -> Iterator[None]:
    """Note in `record` what was read from `file` in this block, as what the plan calls `identity`.

    Raises:
        BadFile: the file changed meanwhile.
    """
    stamps = _stamps_of(file)
    yield
    sha256 = sha256_of_file(file)
    if _stamps_of(file) != stamps:
        raise BadFile(f"{file} changed while it was read; run again when it rests")
    write_seen(record, Seen(identity, stamps, {file.name: sha256}))


def _stamps_of(file: Path) -> dict[str, Stamp]:
    try:
        return {file.name: Stamp.of(file.stat())}
    except FileNotFoundError:
        return {}
