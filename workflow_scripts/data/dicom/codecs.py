"""Stored values of frames: which decoder reads which transfer syntax, and bounds that hold before one runs.

pydicom reads native and run-length encoded values, Pillow JPEG of 8 bits, GDCM the rest of JPEG, JPEG-LS and JPEG 2000.
A decoder allocates what its codestream says, so that the size in the codestream is compared with the header first.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder

DECODERS = {
    "1.2.840.10008.1.2": "native",
    "1.2.840.10008.1.2.1": "native",
    "1.2.840.10008.1.2.2": "native",
    "1.2.840.10008.1.2.5": "pydicom",
    "1.2.840.10008.1.2.4.50": "pillow",
    "1.2.840.10008.1.2.4.51": "pillow",
    "1.2.840.10008.1.2.4.57": "gdcm",
    "1.2.840.10008.1.2.4.70": "gdcm",
    "1.2.840.10008.1.2.4.80": "gdcm",
    "1.2.840.10008.1.2.4.81": "gdcm",
    "1.2.840.10008.1.2.4.90": "gdcm",
    "1.2.840.10008.1.2.4.91": "gdcm",
}
"""The decoder of each transfer syntax (PS3.6 table A-1): implicit, explicit and big endian, RLE, JPEG baseline and
extended, lossless (process 14, and its first-order prediction), JPEG-LS lossless and near-lossless, JPEG 2000."""

MOST_PIXELS = 178_956_970
"""Pixels of one frame: Pillow's bound on decompression bombs."""

MOST_FRAMES = 100_000

BITS = (1, 8, 16, 32)
"""Bits allocated to a value that are read."""


class BadPixels(ValueError):
    """Pixel data are not what the header says; the text holds no value of a text."""


def frame_bytes(dataset: Dataset) -> int:
    """Bytes of one native frame; a frame of single bits is rounded up."""
    bits = dataset.Rows * dataset.Columns * dataset.get("SamplesPerPixel", 1) * dataset.BitsAllocated
    if dataset.get("PhotometricInterpretation") == "YBR_FULL_422":
        bits = bits * 2 // 3  # two chroma values for each two pixels
    return -(-int(bits) // 8)


def size_fault(dataset: Dataset) -> str | None:
    """Why an image of this header cannot be decoded, as the end of a sentence; None if it may be."""
    for name in ("Rows", "Columns", "BitsAllocated", "BitsStored"):
        if not isinstance(dataset.get(name), int) or dataset.get(name) < 1:
            return f"{name} is missing or no number above 0"
    frames = int(dataset.get("NumberOfFrames") or 1)
    samples = dataset.get("SamplesPerPixel", 1)
    if dataset.Rows * dataset.Columns > MOST_PIXELS:
        return f"{dataset.Rows} × {dataset.Columns} pixels are more than {MOST_PIXELS}"
    if not 1 <= frames <= MOST_FRAMES:
        return f"{frames} frames are not between 1 and {MOST_FRAMES}"
    if dataset.BitsAllocated not in BITS or dataset.BitsStored > dataset.BitsAllocated:
        return f"{dataset.BitsStored} bits stored of {dataset.BitsAllocated} allocated are not read"
    if samples not in (1, 3):
        return f"{samples} values a pixel are neither grey nor colour"
    return None


def stored_frames(dataset: Dataset, places: Sequence[int]) -> Iterator[tuple[npt.NDArray[Any], str]]:
    """The frames at `places`, each (rows, columns) or (rows, columns, 3), and how their values are to be seen.

    YBR becomes RGB, so that the second value, the photometric interpretation, is RGB of every colour image but those
    with a palette. Values are as they are stored, of sign and depth as the header says.

    Raises:
        BadPixels: the codestream is of another size than the header.
        Exception: whatever the decoder raises on damaged bytes.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    decoder, plugin = get_decoder(syntax), DECODERS[str(syntax)]
    for place in places:
        if plugin == "native":
            options: dict[str, Any] = {}
        else:
            options = {"decoding_plugin": plugin}
            _check_codestream(dataset, place)
        values, meta = decoder.as_array(dataset, index=place, raw=False, **options)
        shape = (dataset.Rows, dataset.Columns)
        if values.shape[:2] != shape:
            raise BadPixels(
                f"the pixels are {values.shape[0]} × {values.shape[1]}, by the header {shape[0]} × {shape[1]}"
            )
        yield np.asarray(values), str(meta["photometric_interpretation"])


def _check_codestream(dataset: Dataset, place: int) -> None:
    """Compare the size that a frame's codestream says with the header's; run-length encoding says none."""
    frames = int(dataset.get("NumberOfFrames") or 1)
    stream = get_frame(dataset.PixelData, place, number_of_frames=frames)
    size = codestream_size(stream)
    if size is not None and size != (dataset.Rows, dataset.Columns):
        raise BadPixels(
            f"the codestream is of {size[0]} × {size[1]} pixels, the header of {dataset.Rows} × {dataset.Columns}"
        )


def codestream_size(stream: bytes) -> tuple[int, int] | None:
    """Rows and columns as a JPEG, JPEG-LS or JPEG 2000 codestream says; None where it is none of them.

    JPEG: frame header of ITU-T T.81 B.2.2; JPEG-LS: of T.87 C.2.2; JPEG 2000: marker SIZ of T.800 A.5.1.
    """
    if stream[:2] == b"\xff\x4f" and stream[2:4] == b"\xff\x51" and len(stream) >= 24:
        right, bottom, left, top = struct.unpack(">4I", stream[8:24])
        return bottom - top, right - left
    if stream[:2] != b"\xff\xd8":
        return None
    place = 2
    while place + 9 <= len(stream) and stream[place] == 0xFF:
        marker = stream[place + 1]
        if marker == 0xFF:  # a fill byte
            place += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)) or marker == 0xF7:
            rows, columns = struct.unpack(">2H", stream[place + 5 : place + 9])
            return rows, columns
        place += 2 + struct.unpack(">H", stream[place + 2 : place + 4])[0]
    return None
