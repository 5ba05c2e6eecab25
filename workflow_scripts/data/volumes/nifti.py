"""NIfTI files as volumes: turned as a DICOM series shows them, in the values that their header gives."""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
from nibabel.nifti1 import Nifti1Pair
from nibabel.orientations import aff2axcodes, io_orientation
from nibabel.spatialimages import HeaderDataError, HeaderTypeError, ImageDataError

from workflow_scripts.core.config.sources.nifti import NIFTI_ENDINGS
from workflow_scripts.data.volumes.sampling import MOST, sampled_places
from workflow_scripts.data.volumes.volume import Volume

LARGEST = 4 << 30
"""Bytes of the stored values of one file: 1,024 × 1,024 pixels of 16 bits on 2,000 slices."""

TILT = 30.0
"""Degrees between an axis of the file and the patient's beyond which slices are not axial any more."""

_FAULTS = (
    nibabel.filebasedimages.ImageFileError,
    HeaderDataError,
    HeaderTypeError,
    ImageDataError,
    OSError,
    EOFError,
    ValueError,
    ArithmeticError,
    MemoryError,
    zlib.error,
    gzip.BadGzipFile,
)
"""What nibabel raises of a file that is damaged, cut short or none."""


class BadVolume(Exception):
    """A volume cannot be used; `reason` is one of `data.conversion.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def is_nifti_name(name: str) -> bool:
    """Whether a file of this name may be a NIfTI volume."""
    return name.lower().endswith(NIFTI_ENDINGS)


def read_nifti(
    path: Path, most: int = MOST, frame: int | None = None, slope: float = 1, intercept: float = 0
) -> Volume:
    """The slices of a NIfTI file that are shown, from the head to the feet.

    The axes of the file are put in order and turned by its header; nothing is resampled, so that a tilt of up to `TILT`
    degrees stays as it is. The header's own slope and intercept are applied first.

    Args:
        most: slices that are shown at most, see `sampled_places`.
        frame: which volume of a file of several, from 0; None: such a file is refused.
        slope: what values are multiplied with besides, where a table says what the header does not.
        intercept: and what is added then.

    Raises:
        BadVolume: the file is damaged, too large or no volume, or does not say which way its axes go.
    """
    try:
        image = nibabel.load(path, keep_file_open=True)
        if not isinstance(image, Nifti1Pair):
            raise BadVolume("unreadable_volume", f"its form is {type(image).__name__}; expected NIfTI")
        shape = _shape(image, frame)
        turn = _orientation(image)
        count = shape[int(np.flatnonzero(turn[:, 0] == 2)[0])]
        if path.name.lower().endswith(".gz"):
            _check_packing(path)
        stored = _slices(image, shape, turn, sampled_places(count, most), frame)
    except _FAULTS as error:
        said = str(error).replace(str(path), path.name).replace("\n", " ") or type(error).__name__
        raise BadVolume("unreadable_volume", f"it cannot be read: {said[:200]}") from None
    if (slope, intercept) != (1, 0):
        stored = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    return Volume(stored, count)


def _check_packing(path: Path) -> None:
    """Unpack all of a packed file, so that its checksum is compared: damage inside it would else go unnoticed.

    Raises:
        OSError, EOFError, zlib.error: it is damaged or cut short.
        BadVolume: it unpacks to more than a volume can hold.
    """
    size = 0
    with gzip.open(path) as stream:
        while part := stream.read(1 << 20):
            size += len(part)
            if size > 2 * LARGEST:
                raise BadVolume("unreadable_volume", f"it unpacks to more than {2 * LARGEST:,} bytes")


def _shape(image: Nifti1Pair, frame: int | None) -> tuple[int, ...]:
    """Sizes of the three axes of space; raises BadVolume where there are others."""
    shape, kind = image.shape, image.get_data_dtype()
    if kind.kind not in "iuf":
        raise BadVolume("unreadable_volume", f"its values are of the kind {kind.name}; expected numbers, one a voxel")
    if len(shape) < 3 or min(shape) < 1:
        raise BadVolume("unreadable_volume", f"its axes have the lengths {shape}; expected three axes")
    frames = math.prod(shape[3:])
    if frames > 1 and frame is None:
        raise BadVolume("unreadable_volume", f"it holds {frames} volumes (axes {shape}); name one by `frame`")
    if len(shape) > 3 and frames > 1 and (len(shape) > 4 or (frame or 0) >= frames):
        raise BadVolume("unreadable_volume", f"it has no volume {frame}: its axes have the lengths {shape}")
    if (size := math.prod(shape[:3]) * kind.itemsize) > LARGEST:
        raise BadVolume("unreadable_volume", f"its values take {size:,} bytes, of {LARGEST:,} at most")
    return tuple(shape[:3])


def _orientation(image: Nifti1Pair) -> npt.NDArray[np.float64]:
    """For each axis of the file the axis of RAS and its sign.

    Raises:
        BadVolume: the header says nothing of it, contradicts itself, or says something impossible.
    """
    header, affine = image.header, np.asarray(image.affine, dtype=float)
    codes = {"sform": int(header["sform_code"]), "qform": int(header["qform_code"])}
    if not any(codes.values()):
        raise BadVolume(
            "unknown_orientation",
            "its header does not say which way left is (sform_code and qform_code are 0); set it by the tool that "
            "wrote the file",
        )
    spaces = affine[:3, :3]
    if not np.isfinite(affine).all() or np.linalg.matrix_rank(spaces) < 3:
        raise BadVolume("unknown_orientation", "the directions of its axes are no three directions in space")
    if all(codes.values()):
        by = {name: "".join(map(str, aff2axcodes(getattr(image, f"get_{name}")()))) for name in codes}
        if by["sform"] != by["qform"]:
            raise BadVolume(
                "unknown_orientation", f"its header contradicts itself: {by['sform']} by sform, {by['qform']} by qform"
            )
    turn = io_orientation(affine)
    sizes = np.linalg.norm(spaces, axis=0)
    tilts = [
        math.degrees(math.acos(min(1.0, abs(spaces[int(axis), place]) / sizes[place])))
        for place, (axis, _) in enumerate(turn)
    ]
    if max(tilts) > TILT:
        raise BadVolume(
            "unknown_orientation",
            f"its axes are {max(tilts):.0f} degrees off the patient's, of {TILT:.0f} at most; resample it to axial "
            "slices",
        )
    return turn


def _slices(
    image: Nifti1Pair,
    shape: tuple[int, ...],
    turn: npt.NDArray[np.float64],
    places: list[int],
    frame: int | None,
) -> npt.NDArray[np.float32]:
    """The slices at `places`, counted from the head: (slices, rows, columns)."""
    axes = [int(np.flatnonzero(turn[:, 0] == axis)[0]) for axis in range(3)]  # of the file: right, front, head
    ahead = [turn[axis, 1] > 0 for axis in axes]
    count = shape[axes[2]]
    wanted = [count - 1 - place if ahead[2] else place for place in places]
    rest = () if len(image.shape) == 3 else (frame or 0,) + (0,) * (len(image.shape) - 4)
    # Slices that lie one after the other are read one at a time, in the file's order: a packed file is unpacked once,
    # and the whole is never in memory. Of any other order, the whole is read.
    stored: Any = image.dataobj
    whole = None if axes[2] == 2 else np.asanyarray(stored.get_unscaled())[(..., *rest)].reshape(shape)
    slope, intercept = 1.0 if stored.slope is None else stored.slope, stored.inter or 0.0
    read: dict[int, npt.NDArray[np.float32]] = {}
    for place in sorted(set(wanted)):
        if whole is None:
            plane = np.asarray(stored[(slice(None), slice(None), place, *rest)])
        else:
            plane = np.take(whole, place, axis=axes[2]) * slope + intercept
        remaining = [axis for axis in range(3) if axis != axes[2]]
        columns, rows = remaining.index(axes[0]), remaining.index(axes[1])
        plane = plane.transpose(rows, columns)
        plane = plane[:: -1 if ahead[1] else 1, :: -1 if ahead[0] else 1]
        read[place] = plane.astype(np.float32)
    return np.stack([read[place] for place in wanted])
