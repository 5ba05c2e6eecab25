"""The series of a table's row: from its cells what is to be read, then the series themselves."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workflow_scripts.core.config.sources.cells import Cell
from workflow_scripts.core.config.sources.series import SeriesColumns
from workflow_scripts.data.signals.files import Channel, read_channels, seconds_of
from workflow_scripts.data.signals.series import BadSeries, Series, checked, part_of, rate_of_times, unit_of
from workflow_scripts.data.sources.cells import BadCell, Reader, reader_of
from workflow_scripts.data.sources.table_files import Cells, is_missing, list_in
from workflow_scripts.data.sources.table_images import ImagePlaces

SEPARATORS = re.compile(r"[\s,;|]+")
"""Between numbers in a text."""

KEYS = ("name", "unit", "hz", "values")
"""Of a series as an object."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What is to be read of one row for one entry of `series`."""

    name: str | None
    unit: str | None
    hz: float | None
    start: float | None
    stop: float | None
    column: str  # what messages call it
    channels: tuple[str, ...] = ()
    times: object = None  # of values, the cell; of a file, the name of its column
    times_in: str = "s"
    values: object = None
    record: object = None
    file: Path | None = None


class SeriesCells:
    """What makes readings of a row: the entry's cells, compiled once."""

    def __init__(self, spec: SeriesColumns, places: ImagePlaces) -> None:
        self._spec, self._places = spec, places
        self._texts = {key: reader_of(cell) for key, cell in spec.cells().items() if key != "values"}
        self._values = _raw(spec.values) if spec.values is not None else None

    def reading(self, cells: Cells) -> Reading:
        """What is to be read of a row.

        Raises:
            BadCell: a cell cannot be read, or its file is not there.
        """
        spec = self._spec
        column = spec.record or (spec.values or spec.file or Cell(text="")).short() or "values"
        numbers: dict[str, Any] = {key: self._number(key, cells) for key in ("hz", "start", "stop")}
        reading = Reading(self._text("name", cells), self._text("unit", cells), column=str(column),
                          channels=spec.channels, times_in=spec.times_in, **numbers, **self._source(cells))  # fmt: skip
        return reading

    def may_be_dicom(self, cells: Cells) -> bool:
        """Whether a row's file may be a DICOM file, by its ending."""
        if self._spec.file is None:
            return False
        try:
            written = self._texts["file"](cells)
        except BadCell:
            return True
        return written is not None and Path(written).suffix.lower() not in PUBLIC

    def _source(self, cells: Cells) -> dict[str, Any]:
        spec = self._spec
        if spec.file is not None:
            return {"file": self._file(cells), "times": spec.times}
        if spec.record is not None:
            return {"record": list_in(cells.get(spec.record))}
        times = None if spec.times is None else list_in(cells.get(spec.times))
        return {"values": _packed(self._values(cells)) if self._values else None, "times": times}

    def _text(self, key: str, cells: Cells) -> str | None:
        read = self._texts.get(key)
        return None if read is None else read(cells)

    def _number(self, key: str, cells: Cells) -> float | None:
        given = getattr(self._spec, key)
        if given is None or isinstance(given, float):
            return given
        written = self._texts[key](cells)
        try:
            return None if written is None else float(written)
        except ValueError:
            raise BadCell("bad_cell", f"{key} of the series is {written!r}; expected a number") from None

    def _file(self, cells: Cells) -> Path:
        written = self._texts["file"](cells)
        if written is None:
            raise BadCell("missing_series", "the row names no file of its series")
        try:
            [image] = self._places.images_of(written, "file")
        except BadCell as error:
            raise BadCell("missing_series", str(error)) from None
        if image.data is not None:
            raise BadCell("missing_series", f"{shown_name(written)} lies in a zip; unpack it")
        if image.file is None:
            raise BadCell("missing_series", f"{shown_name(written)} is not in the folders of `images_in`")
        return Path(image.file)


def _packed(cell: object) -> object:
    """A list of numbers as an array, which another process gets ten times as fast; anything else as it is."""
    if not isinstance(cell, list):
        return cell
    try:
        array = np.array(cell)
    except (ValueError, OverflowError):  # lists of several lengths
        return cell
    return array if array.dtype.kind in "fiu" else cell


def shown_name(path: str | Path) -> str:
    """The name of a file for messages; that of a DICOM file may be a patient's."""
    name = Path(path).name
    return "the DICOM file" if Path(name).suffix.lower() not in PUBLIC else name[:120]


PUBLIC = (".csv", ".tsv", ".npy", ".npz", ".wav", ".hea")
"""Endings of files whose names messages may say."""


def _raw(cell: Cell) -> Callable[[Cells], object]:
    """What reads values: of a column alone whatever it holds, else a text."""
    if cell.column is not None and not (cell.pattern or cell.values or cell.bands):
        column = cell.columns()[0][0]
        return lambda row: row.get(column)
    read: Reader = reader_of(cell)
    return read


def series_of(reading: Reading, channels: Sequence[Channel] | None, most: int) -> Iterator[Series]:
    """The series of a reading, checked and cut to their part.

    Args:
        channels: of its file, where another reader has read it.
        most: values that each may have.

    Raises:
        BadSeries: one cannot be used.
    """
    if reading.file is not None and channels is None:
        times = None if reading.times is None else str(reading.times)
        channels = read_channels(reading.file, reading.channels, times, reading.times_in)
    if channels is None:
        channels = list(_of_record(reading)) if reading.record is not None else [_of_values(reading)]
    if not channels:
        raise BadSeries("no_values", f"{reading.column} holds no series")
    for place, channel in enumerate(channels):
        name = _name(reading, channel, place, len(channels))
        hz = channel.hz if reading.hz is None else reading.hz
        if channel.hz is not None and reading.hz is not None and abs(channel.hz - reading.hz) > 0.01 * channel.hz:
            raise BadSeries("bad_rate", f"{name} has {channel.hz:g} values a second, and the entry says {reading.hz:g}")
        unit = _unit(reading, channel, name)
        yield part_of(checked(name, unit, hz, channel.values, most), reading.start, reading.stop)


def _unit(reading: Reading, channel: Channel, name: str) -> str | None:
    """The unit that the entry says, else the file or the object.

    Raises:
        BadSeries: they say two; full scale may be called otherwise.
    """
    if reading.unit is None or channel.unit in (None, "FS"):
        return channel.unit if reading.unit is None else reading.unit
    if unit_of(str(channel.unit), name) != unit_of(reading.unit, name):
        raise BadSeries(
            "unknown_unit", f"{name} is in {channel.unit}, and the entry says {reading.unit}; leave `unit` out"
        )
    return channel.unit


def _name(reading: Reading, channel: Channel, place: int, count: int) -> str:
    """The entry's name, with the channel's where there are several; else the channel's."""
    if reading.name is None:
        return channel.name or reading.column
    return reading.name if count == 1 else f"{reading.name} {channel.name or place}"


def _of_values(reading: Reading) -> Channel:
    values = _listed(reading.values, reading.column)
    hz = None
    if reading.times is not None:
        times = _listed(reading.times, "times", texts=True)
        if len(times) != len(values):
            raise BadSeries("uneven_times", f"{reading.column} has {len(values)} values and {len(times)} times")
        hz = rate_of_times(reading.column, seconds_of(list(times), reading.times_in))
    return Channel("", None, hz, values)  # type: ignore[arg-type]


def _of_record(reading: Reading) -> Iterator[Channel]:
    """The objects {name, unit, hz, values} of a cell."""
    records = reading.record if isinstance(reading.record, list) else [reading.record]
    for record in records:
        if not isinstance(record, dict) or "values" not in record:
            raise BadSeries("bad_cell", f"{reading.column} holds no object with {', '.join(KEYS)}")
        hz = record.get("hz")
        if not (hz is None or (isinstance(hz, int | float) and not isinstance(hz, bool) and abs(hz) < 1e12)):
            raise BadSeries("bad_rate", f"hz of {reading.column} is {str(hz)[:40]!r}; expected a number")
        name, unit = record.get("name"), record.get("unit")
        values = _listed(record["values"], reading.column)
        yield Channel(str(name or ""), None if unit is None else str(unit), hz, values)  # type: ignore[arg-type]


def _listed(cell: object, column: str, texts: bool = False) -> Any:
    """A list of a cell: as it is, or of a text with numbers in it.

    Raises:
        BadSeries: it is none.
    """
    value = list_in(cell)
    if isinstance(value, np.ndarray | list | tuple):
        return value
    if is_missing(value):
        raise BadSeries("no_values", f"{column} is empty")
    if isinstance(value, bool | int | float):
        return [value]
    if isinstance(value, str):
        parts = value.strip().split(",") if texts else SEPARATORS.split(value.strip().strip("[](),;").rstrip("."))
        if texts:
            return parts
        try:
            return np.array([float(part) for part in parts if part])
        except ValueError as error:
            raise BadSeries("not_numbers", f"{column} holds other things than numbers: {str(error)[:120]}") from None
    raise BadSeries(
        "not_numbers", f"{column} holds {type(value).__name__}; expected a list of numbers, or a text of them"
    )
