"""Files that hold series: CSV, TSV, NPY, NPZ, WAV and WFDB; DICOM has `waveforms`."""

import csv
import datetime
import io
import math
import warnings
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.core.config.sources.series import CHANNEL_NUMBER
from workflow_scripts.data.signals.series import BadSeries, Values, rate_of_times
from workflow_scripts.data.signals.wfdb import LARGEST_FILE, read_record

FAULTS = (OSError, EOFError, ValueError, TypeError, KeyError, MemoryError, csv.Error, zipfile.BadZipFile)
"""What reading a damaged file raises."""


@dataclass(frozen=True)
class Channel:
    """One channel of a file, before anything of it is checked."""

    name: str  # empty where the file gives none
    unit: str | None
    hz: float | None
    values: np.ndarray  # (values,)


def read_channels(file: Path, channels: Sequence[str], times: str | None, times_in: str) -> tuple[Channel, ...]:
    """The channels of a file that are named, in the order of their naming; all where none is.

    Args:
        times: the column or array of times, which is no channel.
        times_in: s or ms, of times that are numbers.

    Raises:
        BadSeries: the file cannot be read, lacks a channel, or its times do not rise.
    """
    form = file.suffix.lower()
    if file.stat().st_size > LARGEST_FILE:
        raise BadSeries("unreadable_series", f"{file.name} has more than {LARGEST_FILE} bytes")
    try:
        if form == ".wav":
            listed = _wav(file)
        elif form in (".csv", ".tsv"):
            listed = _csv(file, "\t" if form == ".tsv" else ",", times, times_in, channels)
        elif form == ".npy":
            listed = _array("", np.load(file, allow_pickle=False), None)
        elif form == ".hea":
            listed = [Channel(one.name, one.unit, one.hz, one.values) for one in read_record(file)]
        else:
            listed = _npz(file, times, times_in)
    except FAULTS as error:
        what = " ".join(str(error).split())[:160] or type(error).__name__
        raise BadSeries("unreadable_series", f"{file.name} cannot be read: {what}") from None
    if times is not None and form in (".wav", ".npy", ".hea"):
        raise BadSeries("unreadable_series", f"{file.name} has no column {times!r} of times; `times` is of CSV and NPZ")
    return chosen(listed, channels, file.name)


def chosen(listed: Sequence[Channel], channels: Sequence[str], file: str) -> tuple[Channel, ...]:
    """The channels that are named, by name or by number from 0; all where none is.

    Raises:
        BadSeries: there is no such channel, or several of the name.
    """
    if not channels:
        return tuple(listed)
    result = []
    for wanted in channels:
        fitting = [channel for channel in listed if channel.name.casefold() == wanted.strip().casefold()]
        if not fitting and CHANNEL_NUMBER.fullmatch(wanted) and int(wanted) < len(listed):
            fitting = [listed[int(wanted)]]
        if len(fitting) != 1:
            names = ", ".join(channel.name or str(place) for place, channel in enumerate(listed))
            raise BadSeries("missing_series", f"{len(fitting)} channels of {file} are {wanted!r}; it has {names[:200]}")
        result += fitting
    return tuple(result)


def _wav(file: Path) -> list[Channel]:
    """Sound in parts of full scale, -1 to 1: integers are divided by their greatest magnitude."""
    from scipy.io import wavfile

    with warnings.catch_warnings():
        warnings.simplefilter("error", wavfile.WavFileWarning)  # a file that is cut short is but warned of
        warnings.filterwarnings("ignore", message="Chunk .*not understood", category=wavfile.WavFileWarning)
        try:
            rate, data = wavfile.read(file)
        except wavfile.WavFileWarning as error:
            raise ValueError(str(error)) from None
    if data.dtype.kind == "u":  # 8 bits have their zero at 128
        data = (data.astype(np.float64) - 128) / 128
    elif data.dtype.kind == "i":
        data = data.astype(np.float64) / -float(np.iinfo(data.dtype).min)
    sound = data.reshape(len(data), -1)
    names = [""] if sound.shape[1] == 1 else [f"channel {place}" for place in range(sound.shape[1])]
    return [Channel(name, "FS", float(rate), sound[:, place]) for place, name in enumerate(names)]


def _csv(file: Path, delimiter: str, times: str | None, times_in: str, wanted: Sequence[str]) -> list[Channel]:
    """The columns of numbers; a first line that holds none is the header."""
    with file.open(encoding="utf-8-sig", newline="") as stream:
        lines = [line for line in csv.reader(stream, delimiter=delimiter, strict=True) if any(map(str.strip, line))]
    if not lines:
        raise ValueError("it is empty")
    header = None if all(_is_number(cell) for cell in lines[0]) else [cell.strip() for cell in lines.pop(0)]
    width = len(header or lines[0])
    if (wrong := next((n for n, line in enumerate(lines, 1) if len(line) != width), None)) is not None:
        raise ValueError(f"row {wrong} has {len(lines[wrong - 1])} cells, and others {width}")
    names = header or [""] if width == 1 else header or [str(place) for place in range(width)]
    columns = dict(zip(names, zip(*lines, strict=True), strict=True)) if lines else dict.fromkeys(names, ())
    if len(columns) < width:
        raise ValueError("two columns have one name")
    rate = None
    if times is not None:
        if times not in columns:
            raise BadSeries(
                "missing_series", f"{file.name} has no column {times!r} of times; it has {', '.join(names)}"
            )
        rate = rate_of_times(file.name, seconds_of(columns.pop(times), times_in))
    named = {name.strip().casefold() for name in wanted}
    return [
        Channel(name, None, rate, _column(name, cells, name.casefold() in named or not named))
        for name, cells in columns.items()
    ]


def _column(name: str, cells: Sequence[str], needed: bool) -> np.ndarray:
    """A column as numbers, an empty cell as NaN; of one that nobody names, texts are an empty column."""
    try:
        return np.array([float(cell) if cell.strip() else math.nan for cell in cells])
    except ValueError as error:
        if needed:
            raise BadSeries("not_numbers", f"column {name!r} holds other things than numbers: {error}") from None
        return np.empty(0)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def seconds_of(times: Sequence[object], unit: str) -> Values:
    """Times in seconds: of numbers in `unit`, or of dates with times from the first on.

    Raises:
        BadSeries: a time is neither.
    """
    try:
        return np.array([float(str(time)) for time in times]) / (1000.0 if unit == "ms" else 1.0)
    except ValueError:
        pass
    try:
        moments = [datetime.datetime.fromisoformat(str(time).strip()) for time in times]
        return np.array([(moment - moments[0]).total_seconds() for moment in moments])
    except (ValueError, TypeError):
        raise BadSeries("times_not_rising", "a time is neither a number nor a date with a time") from None


def _npz(file: Path, times: str | None, times_in: str) -> list[Channel]:
    """The arrays of an archive; `hz` or `fs` of one number is the rate of all."""
    with zipfile.ZipFile(io.BytesIO(file.read_bytes())) as archive:
        if sum(info.file_size for info in archive.infolist()) > LARGEST_FILE:
            raise ValueError(f"it grows to more than {LARGEST_FILE} bytes")
    with np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    rate = next((float(arrays.pop(name)) for name in ("hz", "fs") if name in arrays and arrays[name].size == 1), None)
    if times is not None:
        if times not in arrays:
            raise BadSeries(
                "missing_series", f"{file.name} has no array {times!r} of times; it has {', '.join(arrays)}"
            )
        rate = rate_of_times(file.name, seconds_of(arrays.pop(times).ravel().tolist(), times_in))
    single = len(arrays) == 1
    return [channel for name, array in arrays.items() for channel in _array("" if single else name, array, rate)]


def _array(name: str, array: np.ndarray, rate: float | None) -> list[Channel]:
    """An array of one or two dimensions; of two, the shorter one is that of the channels."""
    if array.ndim == 0 or array.ndim > 2:
        raise ValueError(f"an array of {array.ndim} dimensions; expected one or two")
    if array.ndim == 1:
        return [Channel(name, None, rate, array)]
    columns = array if array.shape[0] >= array.shape[1] else array.T
    return [Channel(f"{name} {place}".strip(), None, rate, columns[:, place]) for place in range(columns.shape[1])]
