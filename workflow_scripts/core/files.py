"""Files: atomic writes, content hashes, JSON of others, and errors that name the file and the remedy."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any


class BadFile(Exception):
    """A file is missing or cannot be read as what it should be; the message names it and the remedy."""


def disk_fault(error: Exception) -> str | None:
    """One sentence for a full or read-only disk; None for any other error.

    safetensors and torch say in words of their own that nothing more could be written.
    """
    number = error.errno if isinstance(error, OSError) else None
    said, place = str(error), getattr(error, "filename", None) or "the output"
    if number in (errno.ENOSPC, errno.EDQUOT) or "os error 28" in said or "PytorchStreamWriter failed" in said:
        return f"{place} cannot be written: no space is left on the disk; free some and run again"
    if number in (errno.EROFS, errno.EACCES, errno.EPERM) or "os error 30" in said:
        return f"{place} cannot be read or written: {os.strerror(number or errno.EROFS)}; check its owner and mount"
    return None


LEAST_FREE = 16 * 2**20
"""Bytes that must be free where temporary files go before a run starts."""


def temporary_folder() -> str:
    """The folder for temporary files: what TMPDIR names, or the system's.

    Raises:
        BadFile: nothing can be written there.
    """
    named = os.environ.get("TMPDIR")
    try:
        folder = named or tempfile.gettempdir()
        with tempfile.NamedTemporaryFile(dir=folder):
            free = shutil.disk_usage(folder).free
    except OSError as error:
        place = named or "the system's folder for temporary files"
        raise BadFile(f"{place} cannot be written to ({error.strerror}): set TMPDIR to a folder that can") from None
    if free < LEAST_FREE:
        raise BadFile(f"{folder}, where temporary files go, is full: free some space, or set TMPDIR to another folder")
    return folder


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `path`; it takes the name `path` when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8, atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write `value` as indented JSON with sorted keys, atomically."""
    write_text(path, indented_json(value) + "\n")


def indented_json(value: object, depth: int = 0) -> str:
    """What `json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)` gives, in a fifth of the time.

    The standard library indents in Python, value by value; here its C code writes each innermost list or object.

    Args:
        value: what JSON can hold; keys that are no texts cost the gain.
        depth: of the lists and objects that `value` stands in.
    """
    encode = _encoder(depth).encode
    if not isinstance(value, dict | list | tuple) or not value:
        return encode(value)
    lead = "\n" + "  " * depth
    if not any(
        isinstance(inner, dict | list | tuple) for inner in (value.values() if isinstance(value, dict) else value)
    ):
        text = encode(value)
        return f"{text[0]}{lead}  {text[1:-1]}{lead}{text[-1]}"
    if not isinstance(value, dict):
        parts = [indented_json(inner, depth + 1) for inner in value]
        return f"[{lead}  {f',{lead}  '.join(parts)}{lead}]"
    if not all(isinstance(key, str) for key in value):
        return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).replace("\n", lead)
    parts = [f"{encode(key)}: {indented_json(inner, depth + 1)}" for key, inner in sorted(value.items())]
    return f"{{{lead}  {f',{lead}  '.join(parts)}{lead}}}"


@cache
def _encoder(depth: int) -> json.JSONEncoder:
    """Writes a list or an object of plain values that stands `depth` deep, a value a line."""
    return json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",\n" + "  " * (depth + 1), ": "))


def read_json(path: Path) -> object:
    """Read a JSON file that this workflow wrote.

    Raises:
        BadFile: it is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadFile(f"{path} is missing; run the rule that makes it") from None
    except (ValueError, RecursionError) as error:
        raise BadFile(f"{path} is not valid JSON ({error}); delete it and run again") from None


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


LONGEST_INTEGER = 300
"""Digits up to which an integer is read as a number; a longer one stays text (Python refuses 4,301)."""


def loads(text: str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text; an integer of more than 300 digits is read as its text.

    Args:
        text: the JSON.
        pairs: what makes an object of its keys and values, in their order; None: a dictionary, a key's last value.

    Raises:
        ValueError: it is not valid JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=pairs, parse_int=_integer)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_INTEGER else digits


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: it holds no half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
