"""Images of a dataset: one grammar for their paths, one way to open them, one way to hand them on.

A path is relative to the dataset's root. An image inside an archive is `folder/archive.zip!member/name.png` and is
read straight out of the zip. `#range` after a path means the image with its whole range of values brought to 8 bits,
for depths above that; its bytes are then a PGM of the result.
"""

import io
import math
import os
import struct
import warnings
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import kornia_rs
import numpy as np
import numpy.typing as npt
import PIL.Image
from kornia_rs.io import decode_image_png_u8
from PIL import ExifTags, ImageOps, UnidentifiedImageError

from workflow_scripts.core.files import BadFile

MEDIA_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp", "GIF": "image/gif"}
"""Formats that every decoder and every server knows, by Pillow's name."""

FORMATS = ("PNG", "JPEG", "JPEG2000", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that are opened, by Pillow's name, whatever a file is called. For others programs may be started: EPS."""

LARGEST_FILE = 512 * 2**20
"""Bytes of an image's file, or of its member once it is out of a zip, that are read."""

RATIO = 200
"""Most times that a member of a zip may grow; images hardly shrink in a zip."""

ALLOWANCE = 100 * 10**6
"""Bytes that any member may grow to: blank images shrink a lot."""

DECODERS = {"pillow": PIL.__version__, "kornia-rs": kornia_rs.__version__}
"""Versions of what decodes images: another may give other pixels, and so other hashes of them."""

PLAIN_CHUNKS = {b"IHDR", b"IDAT", b"IEND", b"gAMA", b"cHRM", b"sRGB", b"sBIT", b"bKGD", b"pHYs", b"tIME", b"tEXt"}
"""Chunks of a PNG that change neither its pixels nor how Pillow reads them (PNG specification, third edition, 11)."""

READ_TEXTS = (b"Raw profile", b"XML:com.adobe.xmp", b"xmp", b"exif", b"interlace", b"transparency")
"""How texts (tEXt) begin that do, since Pillow keeps them beside what it reads of other chunks: EXIF, as ImageMagick
writes it, XMP, and what has such a name by accident."""

Deep = Literal["percentile", "range"]
"""How depths above 8 bits become 8 bits: what lies between two percentiles is stretched, or the whole range."""

OUTLIERS = 0.005
"""Share of the values at either end of a deep image that `percentile` cuts off."""

RANGE = "#range"
"""At the end of a path: the image with its whole range of values stretched."""

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
    path = path.removesuffix(RANGE)
    place = path.lower().find(MEMBER)
    if place < 0:
        return path, None
    return path[: place + len(MEMBER) - 1], path[place + len(MEMBER) :]


def image_bytes(root: Path, path: str) -> bytes:
    """The bytes of an image's file, or of its member in a zip (the member's CRC is checked).

    Raises:
        BadImage: the file or the member is missing or damaged, or larger than `LARGEST_FILE`.
    """
    file, member = split_member(path)
    try:
        if member is None:
            with open(f"{root}/{file}", "rb") as stream:  # noqa: PTH123 (a third faster, once an image)
                if (size := os.fstat(stream.fileno()).st_size) > LARGEST_FILE:
                    raise BadImage(f"{path} holds {size} bytes; an image may hold {LARGEST_FILE}")
                data = stream.read()
        else:
            archive = _archive(str(root / file), os.getpid())
            info = archive.getinfo(member)
            if (fault := member_fault(info)) is not None:
                raise BadImage(f"{path} {fault}")
            data = archive.read(info)
    except (OSError, *ARCHIVE_FAULTS) as error:
        raise BadImage(f"{path} cannot be read: {_reason(error)}") from None
    return _whole_range(data, path) if path.endswith(RANGE) else data


def member_fault(info: zipfile.ZipInfo) -> str | None:
    """Why a member of a zip is too large to be read; None if it is not. No more is read than it says of its size."""
    if info.file_size > LARGEST_FILE:
        return f"would grow to {info.file_size} bytes; an image may hold {LARGEST_FILE}"
    if info.file_size > max(ALLOWANCE, RATIO * info.compress_size):
        return f"would grow from {info.compress_size} to {info.file_size} bytes: a bomb, or a blank image; unpack it"
    return None


@lru_cache(maxsize=4)
def _archive(file: str, _process: int) -> zipfile.ZipFile:
    # By process: a handle that is open across a fork would share its position.
    return zipfile.ZipFile(file)


class Decoded(NamedTuple):
    """A decoded image, and what its file says of itself."""

    image: PIL.Image.Image  # RGB, turned as its EXIF says
    mode: str  # Pillow's mode of the file
    depth: int  # bits of a channel in the file
    frames: int  # of which the first is decoded
    values: npt.NDArray[np.generic] | None = None  # before they were stretched, (height, width); None up to 8 bits
    low: float | None = None  # the value that became 0
    high: float | None = None  # the value that became 255
    pixels: npt.NDArray[np.uint8] | None = None  # of `image`, (height, width, 3), where its decoder left them


def decode(data: bytes, name: str, deep: Deep = "percentile") -> Decoded:
    """Decode an image to RGB, turned as its EXIF says; the first frame of several.

    Grey values of more than 8 bits are stretched: what lies between the least and the greatest value, or between two
    percentiles (see `OUTLIERS`), onto 0..255. Of colours of 16 bits the upper 8 are taken; palettes are looked up; an
    alpha channel is dropped.

    Raises:
        BadImage: the bytes are not an image of `FORMATS`, are cut short, or hold more than Pillow's limit of pixels.
    """
    if (plain := _plain_png(data)) is not None:
        return plain
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # damaged EXIF data: the image is then not turned
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            opened = PIL.Image.open(io.BytesIO(data), formats=FORMATS)
            mode, depth = opened.mode, _depth(opened)
            several = opened.format == "GIF" or getattr(opened, "is_animated", False)
            opened.load()
            ImageOps.exif_transpose(opened, in_place=True)
            frames = _frames(data) if several else 1
            if opened.mode in ("I", "F") or opened.mode.startswith("I;16"):
                values = np.asarray(opened)
                grey, low, high = _stretched(values, deep)
                return Decoded(PIL.Image.fromarray(grey).convert("RGB"), mode, depth, frames, values, low, high)
            return Decoded(opened if opened.mode == "RGB" else opened.convert("RGB"), mode, depth, frames)
    except DECODER_FAULTS as error:
        raise BadImage(f"{name} is not a readable image: {_reason(error)}") from None


def _plain_png(data: bytes) -> Decoded | None:
    """A PNG of 8-bit grey or RGB, decoded in a third of Pillow's time to the same pixels; None for any other image.

    What this decoder refuses is left to Pillow, whose verdict is the one that counts. (It takes whole images behind
    whose last row there are more data, or with a chunk of gamma or the like that is too short; Pillow may refuse them.)
    """
    if not data.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") or len(data) < 33:
        return None
    width, height, depth, colours, *_, interlaced = struct.unpack_from(">2I5B", data, 16)
    limit = PIL.Image.MAX_IMAGE_PIXELS or 0
    if depth != 8 or colours not in (0, 2) or interlaced or not 0 < width * height <= limit:
        return None
    place = 8
    while place < len(data) - 8:
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind not in PLAIN_CHUNKS or (kind == b"tEXt" and data.startswith(READ_TEXTS, place + 8)):
            return None
        place += 12 + length
    try:
        pixels = decode_image_png_u8(data, (height, width), "rgb" if colours else "mono")
    except Exception:  # noqa: BLE001 (the class that it raises, whatever is wrong with the bytes)
        return None
    if colours:
        return Decoded(PIL.Image.fromarray(pixels), "RGB", depth, 1, pixels=pixels)
    return Decoded(PIL.Image.fromarray(pixels[:, :, 0]).convert("RGB"), "L", depth, 1)


def decode_image(data: bytes, name: str) -> PIL.Image.Image:
    """The image of `decode` alone, (height, width) RGB.

    Raises:
        BadImage: see `decode`.
    """
    return decode(data, name).image


def pgm_of(image: PIL.Image.Image) -> bytes:
    """A grey image as PGM: bytes that follow from its pixels alone."""
    return b"P5\n%d %d\n255\n" % image.size + image.convert("L").tobytes()


def _whole_range(data: bytes, path: str) -> bytes:
    return pgm_of(decode(data, path, "range").image)


def _depth(opened: PIL.Image.Image) -> int:
    """Bits of a channel in the file of an image that is opened and not yet loaded."""
    if opened.mode in ("I", "F"):
        return 32
    # Pillow reads colours of 16 bits as 8: only how it is about to unpack them tells.
    deep = opened.mode.startswith("I;16") or any(";16" in str(tile[3]) for tile in getattr(opened, "tile", ()))
    return 16 if deep else 1 if opened.mode == "1" else 8


def _frames(data: bytes) -> int:
    """Frames of an image whose first one can be read; 2 where the others are damaged and cannot be counted."""
    try:
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return int(getattr(image, "n_frames", 1))
    except DECODER_FAULTS:
        return 2


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
        with PIL.Image.open(io.BytesIO(data), formats=FORMATS) as image:
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


def _stretched(values: npt.NDArray[np.generic], deep: Deep) -> tuple[npt.NDArray[np.uint8], float, float]:
    """`values` (height, width) as 8 bits, with those that became 0 and 255; what is not finite is black."""
    numbers = np.asarray(values, dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return np.zeros(numbers.shape, dtype=np.uint8), 0.0, 0.0
    low, high = float(finite.min()), float(finite.max())
    if deep == "percentile":
        last = finite.size - 1
        ranks = math.ceil(OUTLIERS * last), math.floor((1 - OUTLIERS) * last)
        cut_low, cut_high = np.partition(finite, ranks)[list(ranks)].tolist()
        if cut_low < cut_high:  # else nearly all values are one, and the others are what there is to see
            low, high = cut_low, cut_high
    scale = 255 / (high - low) if 0 < high - low < math.inf else 0.0
    grey = (np.clip(np.nan_to_num(numbers, nan=low, posinf=low, neginf=low), low, high) - low) * scale
    return np.rint(grey).astype(np.uint8), low, high


def open_image(root: Path, path: str) -> PIL.Image.Image:
    """The image at `path` below `root` as RGB; see `decode_image`.

    Raises:
        BadImage: it is missing or cannot be decoded.
    """
    return decode_image(image_bytes(root, path), path)
