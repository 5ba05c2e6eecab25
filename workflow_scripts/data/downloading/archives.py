"""Zips: checked before a byte is written, unpacked so that a folder is either whole or not there.

`imagesTr.zip` becomes the folder `imagesTr` beside it, whether its members stand in a folder of that name or not.
A folder that somebody else unpacked half is completed: a member that is missing or differs is written again.
"""

import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from workflow_scripts.core.files import BadFile
from workflow_scripts.core.images import ALLOWANCE, ARCHIVE_FAULTS, RATIO

BLOCK = 1 << 20


class BadArchive(BadFile):
    """A zip is damaged or not safe to unpack."""


def inner_path(archive: Path, member: str) -> str:
    """Where a member belongs below the archive's folder: its own path, without a leading folder of that name."""
    return member.removeprefix(f"{archive.stem}/")


def members_of(opened: zipfile.ZipFile, archive: Path) -> dict[str, zipfile.ZipInfo]:
    """The files of an archive by their place below its folder, all checked.

    Raises:
        BadArchive: a member is absolute, leaves the folder, is a link or no plain file, is encrypted or there twice,
            or the archive unpacks to far more than it holds.
    """
    members: dict[str, zipfile.ZipInfo] = {}
    for info in opened.infolist():
        name, mode = info.filename, info.external_attr >> 16
        parts = PurePosixPath(name).parts
        if (
            not parts
            or name.startswith(("/", "\\"))
            or ".." in parts
            or "\\" in name
            or ":" in name.split("/")[0]
            or "\0" in name
        ):
            raise BadArchive(f"{archive.name} holds {name[:80]!r}, which leaves its folder: do not use this archive")
        if info.is_dir() or parts[0] == "__MACOSX":
            continue
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise BadArchive(f"{archive.name} holds {name[:80]!r}, which is a link or no file: do not use this archive")
        if info.flag_bits & 1:
            raise BadArchive(f"{archive.name} is encrypted: unpack it by hand into the folder {archive.stem}")
        inner = inner_path(archive, name)
        if inner in members:
            raise BadArchive(f"{archive.name} holds {inner[:80]!r} twice: do not use this archive")
        members[inner] = info
    total, size = sum(info.file_size for info in members.values()), archive.stat().st_size
    if total > max(ALLOWANCE, RATIO * size):
        raise BadArchive(
            f"{archive.name} would grow from {size} to {total} bytes: a bomb, or blank images; unpack it by hand if "
            "you trust it"
        )
    return members


def unpack(archive: Path) -> Path:
    """Unpack `archive` beside itself, or complete what is there. Each member's CRC is checked.

    Returns:
        The folder.

    Raises:
        BadArchive: it is damaged or not safe; the folder is then not made, or left as it was but for whole files.
    """
    target = archive.with_suffix("")
    partial = archive.with_name(f".{archive.stem}.partial")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = members_of(opened, archive)
            missing = sum(info.file_size for info in members.values())
            missing -= sum(path.stat().st_size for path in partial.rglob("*") if path.is_file())
            if not target.exists() and missing > (free := shutil.disk_usage(archive.parent).free):
                raise BadArchive(
                    f"{archive.name} needs {missing} bytes and {free} are free: make space, or read the images out of "
                    "the zip (unpack: false)"
                )
            folder = target if target.is_dir() else partial
            for inner, info in members.items():
                if not _is_there(folder / inner, info):
                    _write(opened, info, folder / inner)
    except OSError as error:
        raise BadArchive(f"{archive.name} cannot be unpacked: {error.strerror or error}") from None
    except ARCHIVE_FAULTS as error:
        raise BadArchive(f"{archive.name} is damaged ({error}): delete it and download it again") from None
    if folder is partial:
        partial.mkdir(exist_ok=True)  # an archive without files
        partial.replace(target)
    return target


def _is_there(path: Path, info: zipfile.ZipInfo) -> bool:
    """Whether a member was written before, whole: its size and its CRC agree."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size != info.file_size:
        return False
    crc = 0
    with path.open("rb") as stream:
        while block := stream.read(BLOCK):
            crc = zlib.crc32(block, crc)
    return crc == info.CRC


def _write(opened: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> None:
    """Write one member under its name only when it is whole; reading it to its end checks its CRC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    written = 0
    with opened.open(info) as source, temporary.open("wb") as stream:
        while block := source.read(BLOCK):
            written += len(block)
            if written > info.file_size:
                raise zipfile.BadZipFile(f"{info.filename} is longer than the archive says")
            stream.write(block)
    temporary.replace(path)
