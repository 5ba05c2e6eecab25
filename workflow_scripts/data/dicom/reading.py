"""DICOM files as datasets of pydicom: what is no image, damaged or unbounded is refused before pixels are touched.

No message names a file or quotes a value: either may be a patient's name.
"""

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

from workflow_scripts.data.dicom.codecs import DECODERS, frame_bytes, size_fault

DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: a DICOMDIR lists files and is none of them."""

NAMES = (".dcm", ".dicom", ".ima", ".dc3", "")
"""Endings of the names of files that are to be DICOM; so are names that end with digits, as unique identifiers do."""

LARGEST_HEADER = 64 * 2**20
"""Bytes before the pixel data that are read of a file."""

FAULTS = (
    InvalidDicomError,
    BytesLengthException,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    NotImplementedError,
    AssertionError,
    OverflowError,
    RecursionError,
    MemoryError,
    RuntimeError,
    LookupError,
    struct.error,
    zlib.error,
)
"""Everything that pydicom and its decoders were seen to raise on damaged bytes."""


class BadDicom(Exception):
    """A file or a series cannot be used; `reason` is one of `data.conversion.reasons`. The text holds no value."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@contextmanager
def silent() -> Iterator[None]:
    """Without the warnings of pydicom, which quote values."""
    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, or is to be by its name; a DICOMDIR is not, since it lists other files."""
    if path.name.upper() == "DICOMDIR":
        return False
    try:
        with path.open("rb") as stream:
            if stream.read(132)[128:] == b"DICM":
                return True
    except OSError:
        return True  # what cannot be read is reported
    suffix = path.suffix.lower()
    return suffix in NAMES or suffix[1:].isdigit()


def read_header(path: Path) -> tuple[FileDataset, int]:
    """What a file says before its pixel data, and at which byte those begin.

    Raises:
        BadDicom: it is no DICOM file, or one that cannot be parsed within bounds.
    """
    try:
        with silent(), path.open("rb") as stream:
            if not path.stat().st_size:
                raise BadDicom("unreadable_dicom", "the file is empty")
            if stream.read(132)[128:] != b"DICM":
                raise BadDicom("unreadable_dicom", "the file lacks DICOM's preamble and the mark DICM")
            stream.seek(0)
            if pydicom.filereader.read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                raise BadDicom("unsupported_dicom", "the transfer syntax is deflated, whose size is not bounded")
            dataset = pydicom.dcmread(stream, stop_before_pixels=True)
            if (header := stream.tell()) > LARGEST_HEADER:
                raise BadDicom(
                    "unreadable_dicom", f"{header} bytes precede the pixel data, of {LARGEST_HEADER} at most"
                )
            return dataset, header
    except FAULTS as error:
        raise BadDicom("unreadable_dicom", f"the file cannot be parsed ({type(error).__name__})") from None


def check_image(dataset: FileDataset, rest: int) -> None:
    """Check that a file is an image that is decoded here, and whole.

    Args:
        dataset: its header.
        rest: bytes that follow the header.

    Raises:
        BadDicom: it is none.
    """
    try:
        _check_kind(dataset)
        _check_size(dataset, rest)
    except FAULTS as error:
        raise BadDicom("unreadable_dicom", f"the header cannot be read ({type(error).__name__})") from None


def read_whole(path: Path) -> FileDataset:
    """A file that `read_header` accepted, with its pixel data.

    Raises:
        BadDicom: it cannot be parsed to its end.
    """
    try:
        with silent():
            dataset = pydicom.dcmread(path)
            if "PixelData" not in dataset:
                raise BadDicom("no_pixel_data", "the file holds no pixel data")
            if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian:
                _turn_tables(dataset)
            return dataset
    except FAULTS as error:
        raise BadDicom("unreadable_dicom", f"the file cannot be parsed ({type(error).__name__})") from None


def _turn_tables(dataset: Dataset) -> None:
    """Put the words of look-up tables into this machine's order, in which pydicom takes them to be."""
    for part in (dataset, *items_of(dataset)):
        for tag in list(part.keys()):
            element = part[tag]
            if element.VR == "OW" and element.keyword.endswith(("LookupTableData", "LUTData")):
                element.value = np.frombuffer(element.value, ">u2").astype("<u2").tobytes()


def is_directory(path: Path) -> bool:
    """Whether a file lists others, whatever it is called."""
    try:
        with silent():
            return str(pydicom.filereader.read_file_meta_info(path).get("MediaStorageSOPClassUID", "")) == DIRECTORY
    except FAULTS:
        return False


def is_image(dataset: FileDataset) -> bool:
    """Whether a file is of a class of images: reports, plans, presentation states and segmentations are not."""
    uid = UID(str(dataset.get("SOPClassUID", "")))
    return "Image Storage" in uid.name if uid.name != str(uid) else "Rows" in dataset


def _check_kind(dataset: FileDataset) -> None:
    if "SOPClassUID" not in dataset:
        raise BadDicom("unreadable_dicom", "the file does not say what it is: SOPClassUID is missing")
    if not is_image(dataset):
        name = UID(str(dataset.get("SOPClassUID", ""))).name
        known = name if name.endswith("Storage") else "of an unknown class"
        raise BadDicom("not_an_image", f"the file is {known}, not an image")
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", ""))
    if not syntax:
        raise BadDicom("unsupported_dicom", "the file does not name its transfer syntax")
    if syntax not in DECODERS:
        name = UID(syntax).name
        raise BadDicom("unsupported_dicom", f"the transfer syntax is {name if name != syntax else 'unknown'}")


def _check_size(dataset: FileDataset, rest: int) -> None:
    """Check the size of the image against the `rest` bytes of the file."""
    if rest <= 8:
        if "Rows" not in dataset:
            raise BadDicom("unreadable_dicom", "the file ends within its header")
        raise BadDicom("no_pixel_data", "the file ends before its pixel data")
    if (fault := size_fault(dataset)) is not None:
        raise BadDicom("bad_pixel_data", fault)
    if DECODERS[str(dataset.file_meta.TransferSyntaxUID)] == "native":
        expected = frame_bytes(dataset) * frames_of(dataset)
        if rest < expected:
            raise BadDicom("bad_pixel_data", f"{rest} bytes are left for pixels, of {expected}: the file is cut short")


def frames_of(dataset: Dataset) -> int:
    """Frames of an image; 1 where the header does not say."""
    return int(dataset.get("NumberOfFrames") or 1)


def items_of(dataset: Dataset) -> Iterator[Dataset]:
    """The items of all sequences of a DICOM dataset, however deep; elements that cannot be read are passed over."""
    for tag in list(dataset.keys()):
        try:
            element: Any = dataset[tag]
        except FAULTS:
            continue
        if element.VR == "SQ":
            for item in element.value:
                yield item
                yield from items_of(item)
