"""Images of a dataset: one grammar for their paths, one way to open them, one way to hand them on.

A path is relative to the dataset's root. An image inside an archive is `folder/archive.zip!member/name.png` and is
read straight out of the zip.
"""

import io
import os
import struct
import warnings
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import PIL.Image
from PIL import ExifTags, ImageOps, UnidentifiedImageError

from workflow_scripts.core.files import BadFile

MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
"""Formats that every decoder and every server knows, by Pillow's name."""

MEMBER = ".zip!"
"""What parts the archive from its member in a path; the archive's name ends before the `!`."""

DECODER_FAULTS = (
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
    PIL.Image.DecompressionBombError,
    PIL.Image.DecompressionBombWarning,
)
"""Everything that Pillow's plugins were seen to raise on damaged bytes."""


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
    """An image is missing or cannot be decoded."""


def member_path(archive: str, member: str) -> str:
    """The path of `member` inside the zip `archive` (itself relative to the root)."""
    return f"{archive}!{member}"


def split_member(path: str) -> tuple[str, str | None]:
    """The file of `path` and, for an image inside a zip, the member's name."""
    place = path.lower().find(MEMBER)
    if place < 0:
        return path, None
    return path[: place + len(MEMBER) - 1], path[place + len(MEMBER) :]


def image_bytes(root: Path, path: str) -> bytes:
    """The bytes of an image's file, or of its member in a zip (the member's CRC is checked).

    Raises:
        BadImage: the file or the member is missing or damaged.
    """
    file, member = split_member(path)
    try:
        if member is None:
            return (root / file).read_bytes()
        return _archive(str(root / file), os.getpid()).read(member)
    except (OSError, *ARCHIVE_FAULTS) as error:
        raise BadImage(f"{path} cannot be read: {_reason(error)}") from None


@lru_cache(maxsize=4)
def _archive(file: str, _process: int) -> zipfile.ZipFile:
    # By process: a handle that is open across a fork would share its position.
    return zipfile.ZipFile(file)


def decode_image(data: bytes, name: str) -> PIL.Image.Image:
    """Decode an image to RGB, turned as its EXIF says; the first frame of several.

    Depths above 8 bits are stretched from the image's least to its greatest value onto 0..255; palettes are
    looked up; an alpha channel is dropped.

    Raises:
        BadImage: the bytes are not an image, are cut short, or hold more than Pillow's limit of pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF data: the image is then not turned
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            opened = PIL.Image.open(io.BytesIO(data))
            opened.load()
            image = ImageOps.exif_transpose(opened)
            if image.mode in ("I", "F") or image.mode.startswith("I;16"):
                return _stretched(image)
            return image.convert("RGB")
    except DECODER_FAULTS as error:
        raise BadImage(f"{name} is not a readable image: {_reason(error)}") from None


class EncodedImage(NamedTuple):
    """An image's bytes in a format that any decoder knows."""

    media_type: str
    data: bytes


def portable_image(root: Path, path: str) -> EncodedImage:
    """The image at `path` in bytes from which every decoder makes the pixels that `open_image` makes.

    The file's own bytes where all decoders agree on them: a single image of 8-bit grey or RGB in a common format that
    no EXIF turns. About the rest (alpha, palettes, 16 bits, several frames) they differ: then a PNG of the pixels.

    Raises:
        BadImage: it is missing or cannot be decoded.
    """
    data = image_bytes(root, path)
    media_type = _agreed_type(data)
    if media_type is not None:
        return EncodedImage(media_type, data)
    image, stream = decode_image(data, path), io.BytesIO()
    image.info.clear()  # a transparent colour and the like would be written along
    image.save(stream, "PNG")
    return EncodedImage(MEDIA_TYPES["PNG"], stream.getvalue())


def _agreed_type(data: bytes) -> str | None:
    """The media type of an image on whose pixels all decoders agree; None for any other."""
    try:
        with PIL.Image.open(io.BytesIO(data)) as image:
            upright = image.getexif().get(ExifTags.Base.Orientation, 1) == 1
            single = not getattr(image, "is_animated", False)
            agreed = image.mode in ("L", "RGB") and "transparency" not in image.info and upright and single
            return MEDIA_TYPES.get(image.format or "") if agreed else None
    except DECODER_FAULTS:
        return None


def _reason(error: BaseException) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its format is not known"  # Pillow's own words hold an address, and differ from run to run
    return (str(error).replace("\n", " ") or type(error).__name__)[:200]


def _stretched(image: PIL.Image.Image) -> PIL.Image.Image:
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = float(values.min()), float(values.max())
    grey = np.zeros(values.shape) if high == low else (values - low) / (high - low) * 255
    return PIL.Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")


def open_image(root: Path, path: str) -> PIL.Image.Image:
    """The image at `path` below `root` as RGB; see `decode_image`.

    Raises:
        BadImage: it is missing or cannot be decoded.
    """
    return decode_image(image_bytes(root, path), path)
