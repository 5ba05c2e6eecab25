"""Pictures of a tree: one grammar for their paths, one way to open them.

A path is relative to the tree. A picture inside an archive is `folder/archive.zip!member/name.png` and is read
straight out of the zip.
"""

import io
import os
import struct
import warnings
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from workflow_scripts.core.files import BadFile

MEMBER = ".zip!"
"""What parts the archive from its member in a path; the archive's name ends before the `!`."""

# Everything that Pillow's plugins were seen to raise on damaged bytes.
_DECODER_FAULTS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    NotImplementedError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


ARCHIVE_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    KeyError,
    IndexError,
    ValueError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    struct.error,
)
"""Everything but OSError that zipfile was seen to raise on damaged archives."""


class BadImage(BadFile):
    """A picture is missing or cannot be decoded."""


def member_path(archive: str, member: str) -> str:
    """The path of `member` inside the zip `archive` (itself relative to the tree)."""
    return f"{archive}!{member}"


def split_member(path: str) -> tuple[str, str | None]:
    """The file of `path` and, for a picture inside a zip, the member's name."""
    place = path.lower().find(MEMBER)
    if place < 0:
        return path, None
    return path[: place + len(MEMBER) - 1], path[place + len(MEMBER) :]


def image_bytes(root: Path, path: str) -> bytes:
    """The bytes of a picture's file, or of its member in a zip (the member's CRC is checked).

    Raises:
        BadImage: the file or the member is missing or damaged.
    """
    file, member = split_member(path)
    try:
        if member is None:
            return (root / file).read_bytes()
        return _archive(str(root / file), os.getpid()).read(member)
    except (OSError, *ARCHIVE_FAULTS) as error:
        raise BadImage(f"{path} cannot be read: {_said(error)}") from None


@lru_cache(maxsize=4)
def _archive(file: str, _process: int) -> zipfile.ZipFile:
    # By process: a handle that is open across a fork would share its position.
    return zipfile.ZipFile(file)


def decode_image(data: bytes, name: str) -> Image.Image:
    """Decode a picture to RGB, turned as its EXIF says; the first frame of several.

    Depths above 8 bits are stretched from the picture's least to its greatest value onto 0..255; palettes are
    looked up; an alpha channel is dropped.

    Raises:
        BadImage: the bytes are no picture, are cut short, or hold more than Pillow's limit of pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF data: the picture is then not turned
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(data))
            image.load()
            image = ImageOps.exif_transpose(image)
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                return _stretched(image)
            return image.convert("RGB")
    except _DECODER_FAULTS as error:
        raise BadImage(f"{name} is not a readable picture: {_said(error)}") from None


def plain_format(data: bytes) -> str | None:
    """Pillow's name of the format, where any decoder makes the pixels of `data` that `decode_image` makes; else None.

    Plain are single pictures of 8-bit grey or RGB that no EXIF turns: about the rest (alpha, palettes, 16 bits)
    decoders differ.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
            plain = image.mode in ("L", "RGB") and upright and not getattr(image, "is_animated", False)
            return image.format if plain else None
    except _DECODER_FAULTS:
        return None


def _said(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its format is not known"  # Pillow's own words hold an address, and differ from run to run
    return (str(error).replace("\n", " ") or type(error).__name__)[:200]


def _stretched(image: Image.Image) -> Image.Image:
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    grey = np.zeros(values.shape) if high == low else (values - low) / (high - low) * 255
    return Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")


def open_image(root: Path, path: str) -> Image.Image:
    """The picture at `path` of `tree` as RGB; see `decode_image`.

    Raises:
        BadImage: it is missing or cannot be decoded.
    """
    return decode_image(image_bytes(root, path), path)
