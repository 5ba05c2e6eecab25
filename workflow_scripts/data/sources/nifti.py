"""Questions from a source of the kind `nifti`: a table's rows, whose volumes are shown as slices."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from workflow_scripts.core.config.sources.cells import Cell, TextCell
from workflow_scripts.core.config.sources.nifti import NiftiDataset
from workflow_scripts.core.manifest import is_image_name, stamps_below
from workflow_scripts.data.conversion.process_pool import ProcessPool
from workflow_scripts.data.sources.cells import BadCell, reader_of
from workflow_scripts.data.sources.record import SourceImage, SourceRecord
from workflow_scripts.data.sources.table import TableRows, records_of
from workflow_scripts.data.sources.table_files import Cells, TableRow
from workflow_scripts.data.sources.table_images import ImagePlaces
from workflow_scripts.data.volumes.nifti import BadVolume, is_nifti_name, read_nifti
from workflow_scripts.data.volumes.slices import GREY, slice_images
from workflow_scripts.data.volumes.volume import hounsfield_fault

AT_ONCE = 4
"""Records a process that are read ahead: 85 slices of 512 × 512 pixels take about 20 MB."""


@dataclass(frozen=True)
class Reading:
    """How one volume is read and shown."""

    file: Path
    name: str  # folder of its slices below the subset's
    slices: int
    windows: str
    frame: int | None
    slope: float = 1.0
    intercept: float = 0.0


def records(spec: NiftiDataset, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """The records of the table beside the volumes, and those of volumes that no row names.

    Raises:
        BadFile: a table cannot be read, or is not as the entry says.
    """
    places = VolumePlaces(root, spec.images_in)
    rows = VolumeRows(spec, root, places)
    with ProcessPool(jobs) as pool:
        listed = records_of(spec, root, lambda: rows)
        while some := list(islice(listed, AT_ONCE * max(1, jobs))):
            yield from _shown(some, rows, pool)
    named = {os.path.abspath(file) for file in rows.named}  # noqa: PTH100
    for place, file in places.volumes():
        if os.path.abspath(file) not in named:  # noqa: PTH100
            subset, modality = spec.subset and spec.subset.constant(), spec.modality.constant()
            fault = ("unused_volume", f"no row of the table names {place}")
            yield SourceRecord("training", modality or "Image", subset or "volumes", place, "", "", None, fault=fault)


class VolumePlaces(ImagePlaces):
    """Where the volumes and images of a table are; a volume may be named without the folders that it lies in."""

    def __init__(self, root: Path, patterns: Sequence[str]) -> None:
        super().__init__(root, patterns, lambda name: is_image_name(name) or is_nifti_name(name))
        files = [
            Path(folder) / place for folder in self._folders for place in stamps_below(Path(folder), is_nifti_name)
        ]
        self._volumes = {str(file).removeprefix(f"{self._base}/"): file for file in files}
        self._by_name: dict[str, list[tuple[str, Path]]] = {}
        for path, file in self._volumes.items():
            self._by_name.setdefault(file.name, []).append((path, file))

    def volumes(self) -> Iterator[tuple[str, Path]]:
        """Every volume below the folders of the images, with its path in the source's."""
        yield from self._volumes.items()

    def _of_path(self, written: str) -> SourceImage:
        """See `ImagePlaces._of_path`; a volume may lie deeper below the folders than its path says."""
        image = super()._of_path(written)
        if image.file is not None or image.data is not None or not is_nifti_name(image.name):
            return image
        files = self._deeper(image.name)
        if len(files) > 1:
            raise BadCell("ambiguous_image", f"{image.name} fits {len(files)} volumes")
        return replace(image, file=str(files[0]), sought="") if files else image

    def _deeper(self, written: str) -> list[Path]:
        """The volumes whose path ends as it is written, by whole names of folders: `a/ct.nii` is not `b/ct.nii`."""
        of_name = self._by_name.get(written.rpartition("/")[2], [])
        return [file for path, file in of_name if path == written or path.endswith(f"/{written}")]


class VolumeRows(TableRows):
    """Rows of a table whose images may be volumes; notes how each volume is to be read, and which are named at all."""

    def __init__(self, spec: NiftiDataset, root: Path, places: VolumePlaces) -> None:
        super().__init__(spec, root, places)
        self._volumes = spec
        self._factors = [
            (key, reader_of(cell if isinstance(cell, Cell) else TextCell(text=str(cell))))
            for key, cell in (("slope", spec.slope), ("intercept", spec.intercept))
            if cell is not None
        ]
        self.readings: dict[Path, Reading] = {}
        self.named: set[Path] = set()

    def record(self, row: TableRow) -> tuple[str, SourceRecord] | None:
        """See `TableRows.record`; a row that `where` leaves out names its volumes, too."""
        entry = super().record(row)
        if entry is None or entry[1].fault is not None:
            with suppress(BadCell):
                self.named |= {Path(image.file) for image in super().images_of(row.cells) if image.file is not None}
        return entry

    def images_of(self, cells: Cells) -> Iterator[SourceImage]:
        """See `TableRows.images_of`."""
        for image in super().images_of(cells):
            if image.file is not None and is_nifti_name(image.name):
                self.named.add(Path(image.file))
                self._note(Path(image.file), image.name, cells)
            yield image

    def _note(self, file: Path, name: str, cells: Cells) -> None:
        factors = {}
        for key, read in self._factors:
            try:
                factors[key] = float(read(cells) or "none")
            except ValueError:
                raise BadCell("bad_cell", f"{key} of the volume is {read(cells)!r}; expected a number") from None
        spec = self._volumes
        reading = Reading(file, name, spec.slices, spec.windows, spec.frame, **factors)
        if self.readings.setdefault(file, reading) != reading:
            raise BadCell("bad_cell", f"another row says another slope or intercept of {name}")


def read_slices(reading: Reading) -> tuple[SourceImage, ...] | tuple[str, str]:
    """The slices of a volume; reason and detail where it cannot be used."""
    try:
        volume = read_nifti(reading.file, reading.slices, reading.frame, reading.slope, reading.intercept)
    except BadVolume as error:
        return error.reason, str(error)
    if reading.windows != GREY and (fault := hounsfield_fault(volume.values)) is not None:
        return "not_hounsfield", fault
    return slice_images(volume, reading.windows, reading.name)


def _shown(records: Sequence[SourceRecord], rows: VolumeRows, pool: ProcessPool) -> Iterator[SourceRecord]:
    """Records with the slices in place of their volumes."""
    files = {Path(image.file) for record in records for image in record.images if image.file and _is_volume(image)}
    readings = [rows.readings[file] for file in sorted(files)]
    results = dict(zip((r.file for r in readings), pool.each(read_slices, [(r,) for r in readings]), strict=True))
    for record in records:
        yield _with_slices(record, results)


def _is_volume(image: SourceImage) -> bool:
    return image.data is None and is_nifti_name(image.name)


def _with_slices(
    record: SourceRecord, results: Mapping[Path, tuple[SourceImage, ...] | tuple[str, str]]
) -> SourceRecord:
    """A record whose volumes are slices; those of one role in a row are numbered on."""
    images: list[SourceImage] = []
    numbers: dict[str, int] = {}
    for image in record.images:
        if not _is_volume(image):
            images.append(image)
            continue
        place = image.name
        if image.file is None:
            return replace(record, images=(), fault=("missing_image", f"{place} is not in the folder"))
        slices = results[Path(image.file)]
        if isinstance(slices[0], str):
            return replace(record, images=(), fault=(slices[0], f"{place}: {slices[1]}"))
        for shown in slices:
            number = numbers[image.role] = numbers.get(image.role, 0) + 1
            images.append(replace(shown, role=f"{image.role} slice {number}".strip()))
    return replace(record, images=tuple(images))
