"""Files put together as series: in what order slices are shown, and whether they are one whole volume."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from workflow_scripts.data.dicom.reading import BadDicom

VOLUMES = ("CT", "MR", "PT")
"""Modalities whose series are volumes."""

SAME = 1e-3
"""By how much cosines of one orientation, or millimetres of one spacing, may differ."""

UNEVEN = 0.1
"""By which share of the usual spacing a spacing between slices may differ from it."""


class Frame(NamedTuple):
    """Where one frame of a file lies in the patient, as far as the file says."""

    position: tuple[float, float, float] | None = None  # mm, of the centre of the first pixel
    orientation: tuple[float, ...] | None = None  # cosines of a row, then of a column
    spacing: tuple[float, float] | None = None  # mm between rows, and between columns


@dataclass(frozen=True)
class Instance:
    """One file's image, by what its de-identified header says; names and identifiers are pseudonyms."""

    place: Path  # held in memory alone
    file: str
    patient: str  # empty where the file says nothing
    study: str
    accession: str
    series: str
    instance: str
    modality: str  # CR, CT, …
    rows: int
    columns: int
    colour: bool
    number: int | None  # InstanceNumber
    frames: tuple[Frame, ...]
    frame_of_reference: str = ""
    localizer: bool = False
    secondary: bool = False  # a capture of a screen, or of another image
    expected: int | None = None  # NumberOfSeriesRelatedInstances
    header: int = 0  # bytes before the pixel data
    groups: tuple[tuple[str, str], ...] = ()
    series_number: int | None = None  # SeriesNumber

    @property
    def in_volume(self) -> bool:
        """Whether it is part of a volume: a slice of CT, MR or PET, or a stack of such."""
        return self.modality in VOLUMES and not (self.secondary or self.colour or self.localizer)


class Slice(NamedTuple):
    """A frame of a file, counted from 0."""

    instance: Instance
    frame: int


@dataclass(frozen=True)
class Series:
    """Images of one series in the order in which they are shown."""

    name: str  # pseudonym
    slices: tuple[Slice, ...]
    volume: bool
    copies: tuple[Instance, ...] = ()  # further files of instances that it holds

    @property
    def first(self) -> Instance:
        """The first image."""
        return self.slices[0].instance


def series_of(instances: Sequence[Instance], whole: bool = True) -> Series:
    """One series of all files that name it.

    Args:
        whole: whether the files are to be all that the series says it has.

    Raises:
        BadDicom: they are not one series, or not a whole one.
    """
    single, copies = _without_copies(instances)
    for what, values in (
        ("patients", {item.patient for item in single}),
        ("studies", {item.study for item in single}),
        ("modalities", {item.modality for item in single}),
    ):
        if len(values) > 1:
            raise BadDicom("mixed_series", f"its files are of {len(values)} {what}")
    if whole:
        _check_count(single)
    name, volume = single[0].series, any(item.in_volume for item in single)
    if not volume:
        ordered = sorted(single, key=lambda item: (item.number is None, item.number or 0, str(item.place)))
        return Series(
            name, tuple(Slice(item, n) for item in ordered for n in range(len(item.frames))), False, copies=copies
        )
    _check_alike(single)
    slices = [Slice(item, place) for item in single for place in range(len(item.frames))]
    ordered_slices = _in_order(slices)
    _check_pixel_spacing(slices)
    return Series(name, tuple(ordered_slices), True, copies)


def _without_copies(instances: Sequence[Instance]) -> tuple[list[Instance], tuple[Instance, ...]]:
    """Each instance once, and further files of the same bytes."""
    first: dict[str, Instance] = {}
    copies = []
    for item in sorted(instances, key=lambda item: str(item.place)):
        earlier = first.setdefault(item.instance, item)
        if earlier is item:
            continue
        if earlier.frames != item.frames or _pixels(earlier) != _pixels(item):
            raise BadDicom("duplicate_instance", "two files of one instance differ")
        copies.append(item)
    return list(first.values()), tuple(copies)


def _pixels(instance: Instance) -> str:
    """SHA-256 of what follows a file's header."""
    with instance.place.open("rb") as stream:
        stream.seek(instance.header)
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_count(instances: Sequence[Instance]) -> None:
    expected = max((item.expected or 0 for item in instances), default=0)
    if expected > len(instances):
        raise BadDicom("missing_slice", f"{len(instances)} files are there of {expected} that the series says it has")


def _check_alike(instances: Sequence[Instance]) -> None:
    if len({item.in_volume for item in instances}) > 1:
        raise BadDicom("mixed_series", "slices stand beside localizers, captures or colour images")
    if len(sizes := Counter((item.rows, item.columns) for item in instances)) > 1:
        listed = ", ".join(f"{count} of {rows} × {columns}" for (rows, columns), count in sizes.most_common(3))
        raise BadDicom("mixed_series", f"its files differ in size: {listed}")
    if len(frames := {item.frame_of_reference for item in instances}) > 1:
        raise BadDicom("mixed_series", f"its files are of {len(frames)} frames of reference")


def _check_pixel_spacing(slices: Sequence[Slice]) -> None:
    spacings = {item.instance.frames[item.frame].spacing for item in slices}
    given = [spacing for spacing in spacings if spacing is not None]
    if len(slices) == 1 and not given:
        return
    if not given or None in spacings:
        raise BadDicom("bad_geometry", "PixelSpacing is missing")
    if any(not math.isfinite(side) or side <= 0 for spacing in given for side in spacing):
        raise BadDicom("bad_geometry", "PixelSpacing is no size above 0")
    rows, columns = zip(*given, strict=True)
    if max(rows) - min(rows) > SAME or max(columns) - min(columns) > SAME:
        raise BadDicom("mixed_series", "its files differ in PixelSpacing")


def _in_order(slices: list[Slice]) -> list[Slice]:
    """The slices in order.

    The order is that of InstanceNumber where positions rise or fall with it, as they do in nearly all series; else
    from the head to the feet, from the right to the left, or from the front to the back.
    """
    if len(slices) == 1:
        return slices
    frames = [item.instance.frames[item.frame] for item in slices]
    positions = [frame.position for frame in frames if frame.position is not None]
    orientations = [frame.orientation for frame in frames if frame.orientation is not None]
    if len(positions) < len(slices) or len(orientations) < len(slices):
        raise BadDicom("bad_geometry", "ImagePositionPatient or ImageOrientationPatient is missing")
    cosines = np.array(orientations, dtype=float)
    if not np.isfinite(cosines).all() or not np.isfinite(np.array(positions)).all():
        raise BadDicom("bad_geometry", "a position or an orientation is not finite")
    if np.abs(cosines - cosines[0]).max() > SAME:
        raise BadDicom("mixed_series", "its slices differ in orientation")
    row, column = cosines[0][:3], cosines[0][3:]
    if abs(np.linalg.norm(row) - 1) > 0.01 or abs(np.linalg.norm(column) - 1) > 0.01 or abs(row @ column) > 0.01:
        raise BadDicom("bad_geometry", "ImageOrientationPatient holds no two directions at a right angle")
    normal = np.cross(row, column)
    along = np.array(positions, dtype=float) @ normal
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    if (steps < SAME).any():
        same = int((steps < SAME).sum())
        raise BadDicom(
            "mixed_series", f"{same} slices lie where another does: several phases, echoes or times in one series"
        )
    _check_steps(steps, usual)
    numbers = [_number(item) for item in slices]
    by_number = sorted(range(len(slices)), key=lambda place: numbers[place])
    moves = np.diff(along[by_number])
    if len(set(numbers)) == len(numbers) and (0,) not in numbers and ((moves > 0).all() or (moves < 0).all()):
        return [slices[place] for place in by_number]
    axis = int(np.argmax(np.abs(normal)))  # patient's left, back, head
    falling = (normal[axis] > 0) == (axis == 2)
    return [slices[place] for place in (order[::-1] if falling else order)]


def _number(item: Slice) -> tuple[int, ...]:
    """InstanceNumber and frame; (0,) where there is none."""
    return (0,) if item.instance.number is None else (item.instance.number, item.frame)


def _check_steps(steps: np.ndarray, usual: float) -> None:
    for place, step in enumerate(steps):
        if abs(step - usual) <= UNEVEN * usual:
            continue
        missing = round(float(step) / usual) - 1
        where = f"between slices {place + 1} and {place + 2} in their order there are {step:g} mm, elsewhere {usual:g}"
        if missing >= 1 and abs(step - (missing + 1) * usual) <= UNEVEN * usual:
            raise BadDicom("missing_slice", f"{missing} missing: {where}")
        raise BadDicom("uneven_slices", where)
