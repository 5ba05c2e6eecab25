"""The series of a row as its question and images: read, checked and drawn in whatever process."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from workflow_scripts.core.config.sources.series import Rendering, SeriesPlot, SeriesText
from workflow_scripts.data.signals.cells import PUBLIC, Reading, series_of
from workflow_scripts.data.signals.files import Channel
from workflow_scripts.data.signals.plot import plot
from workflow_scripts.data.signals.series import BadSeries, Series
from workflow_scripts.data.signals.spectrogram import spectrogram
from workflow_scripts.data.signals.text import question_with


class Options(NamedTuple):
    """How the series of all rows are read and shown."""

    rendering: Rendering
    most: int  # values of a series
    key: str  # of the pseudonyms; empty where no series lies in a file


class Request(NamedTuple):
    """A row: its question, what is to be read for it, and texts that may not name a patient of its DICOM files."""

    question: str
    readings: tuple[Reading, ...]
    texts: tuple[str, ...]


class Shown(NamedTuple):
    """What became of a row."""

    question: str
    images: tuple[tuple[bytes, str], ...] = ()  # PNG and role
    fault: tuple[str, str] | None = None  # reason and what is wrong
    private: bool = False  # whether a DICOM file was read: the row is told of by its number alone
    patient: str = ""  # pseudonym of its DICOM files


def show_all(requests: Sequence[Request], options: Options) -> list[Shown]:
    """`show` of each."""
    return [show(request, options) for request in requests]


def show(request: Request, options: Options) -> Shown:
    """A row with its series; nothing is raised for what cannot be used."""
    private, patients = False, set()
    series: list[Series] = []
    try:
        for reading in request.readings:
            channels = None
            if reading.file is not None and reading.file.suffix.lower() not in PUBLIC:
                private = True
                channels, patient = _waveform(reading, request.texts, options.key)
                patients.add(patient)
            series += series_of(reading, channels, options.most)
        if len(patients) > 1:
            raise BadSeries("mixed_series", f"the row names DICOM files of {len(patients)} patients")
        question, images = _drawn(request.question, series, options.rendering)
        return Shown(question, images, private=private, patient="".join(patients))
    except BadSeries as error:
        return Shown(request.question, fault=(error.reason, str(error)), private=private)


def _waveform(reading: Reading, texts: Sequence[str], key: str) -> tuple[tuple[Channel, ...], str]:
    """The channels of a DICOM file, and its patient's pseudonym.

    Raises:
        BadSeries: it is none or damaged, or a text names whom the file names; it is not repeated.
    """
    # Tables without DICOM files need none of its libraries.
    from workflow_scripts.data.dicom.reading import is_dicom
    from workflow_scripts.data.signals.waveforms import read_waveform

    assert reading.file is not None
    if not is_dicom(reading.file):
        raise BadSeries("unreadable_series", "the file is none of CSV, TSV, NPY, NPZ, WAV, WFDB (.hea) and DICOM")
    waveform = read_waveform(reading.file, reading.channels, key)
    for text in texts:
        if (fault := waveform.known.fault(text, {waveform.patient})) is not None:
            raise BadSeries("identifier_in_text", f"a value of the row holds {fault}")
    return waveform.channels, waveform.patient


def _drawn(question: str, series: Sequence[Series], how: Rendering) -> tuple[str, tuple[tuple[bytes, str], ...]]:
    """Question and images of the series."""
    if isinstance(how, SeriesText):
        return question_with(question, series, how) if question.strip() else question, ()
    if isinstance(how, SeriesPlot):
        return question, ((plot(series, how), ""),)
    images = [spectrogram(one, how) for one in series]
    roles = [_role(one.name) if len(series) > 1 else "" for one in series]
    return question, tuple(zip(images, roles, strict=True))


def _role(name: str) -> str:
    """The name of a series as the role of its image: letters, digits, spaces and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", " ", name).strip()[:40] or "signal"
