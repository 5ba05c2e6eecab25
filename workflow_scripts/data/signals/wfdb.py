"""Records of PhysioNet: a header (.hea) and the files of signals that it names, in six of their formats.

As the WFDB manual states them (header(5), signal(5)). Comments of a header, where patients may be described, are not
read. The checksum of each signal is compared.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from workflow_scripts.data.signals.series import BadSeries

LARGEST_FILE = 512 * 2**20
"""Bytes of a file of signals that are read."""

USUAL_GAIN = 200.0
"""Units of the converter a physical unit, where a header says none or 0."""

SIGNAL = re.compile(
    r"(?P<file>[\w.-]+)\s+(?P<format>\d+)(?P<unread>[x:+]\S*)?"
    r"(?:\s+(?P<gain>[-+.\deE]+)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?"
    r"(?:\s+(?P<resolution>\d+)(?:\s+(?P<zero>-?\d+)(?:\s+(?P<first>-?\d+)"
    r"(?:\s+(?P<checksum>-?\d+)(?:\s+\d+(?:\s+(?P<name>.+))?)?)?)?)?)?)?\s*"
)
"""A line of a header on one signal; `unread` are samples a frame, a skew and an offset."""

Numbers = npt.NDArray[np.int64]


class Signal(NamedTuple):
    """One signal of a record, before anything of it is checked."""

    name: str
    unit: str
    hz: float
    values: npt.NDArray[np.float64]  # in its unit; NaN where the converter gave none


class Line(NamedTuple):
    """What a header says of a signal."""

    file: str
    format: str
    gain: float
    baseline: int
    unit: str
    checksum: int | None
    name: str


def read_record(header: Path) -> list[Signal]:
    """The signals of a record.

    Raises:
        BadSeries: it is damaged, or of a form that is not read.
        OSError, ValueError: a file of it cannot be read.
    """
    text = header.read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    fields = lines[0].split() if lines else []
    if len(fields) < 2 or "/" in fields[0]:
        raise BadSeries("unreadable_series", f"{header.name} is no header of a record of one segment")
    count = int(fields[1])
    hz = float(re.split(r"[/(]", fields[2])[0]) if len(fields) > 2 else 250.0  # as the manual has it
    signals = [_line(line, header.name) for line in lines[1 : count + 1]]
    if len(signals) != count:
        raise BadSeries("unreadable_series", f"{header.name} describes {len(signals)} signals of {count}")
    files = list(dict.fromkeys(signal.file for signal in signals))
    listed: list[Signal] = []
    for file in files:
        of_file = [signal for signal in signals if signal.file == file]
        listed += _signals(header.parent / file, of_file, hz)
    return listed


def _line(line: str, header: str) -> Line:
    match = SIGNAL.fullmatch(line)
    if match is None or match["unread"] or match["format"] not in FORMATS:
        what = f"format {match['format']}{match['unread'] or ''}" if match else "a line"
        raise BadSeries("unreadable_series", f"{header}: {what} is not read; expected one of {', '.join(FORMATS)}")
    zero = int(match["zero"] or 0)
    return Line(
        file=match["file"],
        format=match["format"],
        gain=float(match["gain"] or 0) or USUAL_GAIN,
        baseline=zero if match["baseline"] is None else int(match["baseline"]),
        unit=match["unit"] or "mV",
        checksum=None if match["checksum"] is None else int(match["checksum"]),
        name=match["name"] or "",
    )


def _signals(file: Path, lines: list[Line], hz: float) -> list[Signal]:
    """The signals of one file, whose samples take turns."""
    if len({line.format for line in lines}) > 1:
        raise BadSeries("unreadable_series", f"{file.name} holds several formats")
    if file.stat().st_size > LARGEST_FILE:
        raise BadSeries("unreadable_series", f"{file.name} has more than {LARGEST_FILE} bytes")
    numbers = FORMATS[lines[0].format](file.read_bytes())
    numbers = numbers[: len(numbers) // len(lines) * len(lines)].reshape(-1, len(lines))
    listed = []
    for place, line in enumerate(lines):
        samples = numbers[:, place]
        if line.checksum is not None and (int(samples.sum()) - line.checksum) % 2**16:
            raise BadSeries(
                "unreadable_series", f"{file.name}: signal {place} has another checksum than its header says"
            )
        values = (samples - line.baseline) / line.gain
        values[samples == MISSING[line.format]] = np.nan
        listed.append(Signal(line.name, line.unit, hz, values))
    return listed


def _twelve_bits(data: bytes) -> Numbers:
    """Format 212: two samples of 12 bits in three bytes."""
    triples = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3).astype(np.int64)
    first = triples[:, 0] + ((triples[:, 1] & 0x0F) << 8)
    second = triples[:, 2] + ((triples[:, 1] & 0xF0) << 4)
    samples = np.stack([first, second], axis=1).ravel()
    return np.where(samples > 2047, samples - 4096, samples)


def _three_bytes(data: bytes) -> Numbers:
    """Format 24: three bytes a sample, the lowest first."""
    triples = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3).astype(np.int64)
    samples = triples @ np.array([1, 2**8, 2**16])
    return np.where(samples >= 2**23, samples - 2**24, samples)


def _whole(kind: str, size: int, offset: int = 0) -> Callable[[bytes], Numbers]:
    """A format of whole numbers of a kind of numpy."""
    return lambda data: np.frombuffer(data[: len(data) // size * size], kind).astype(np.int64) - offset


FORMATS: dict[str, Callable[[bytes], Numbers]] = {
    "16": _whole("<i2", 2),
    "24": _three_bytes,
    "32": _whole("<i4", 4),
    "61": _whole(">i2", 2),
    "80": _whole("u1", 1, 128),
    "212": _twelve_bits,
}

MISSING = {"16": -(2**15), "24": -(2**23), "32": -(2**31), "61": -(2**15), "80": -128, "212": -2048}
"""The least number of each format stands for a sample that is not there."""
