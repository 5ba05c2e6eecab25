"""Questions from a source of the kind `signals`: a table's rows, whose series are shown as text or as images."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import islice
from pathlib import Path

from workflow_scripts.cache.pseudonyms import secret_key
from workflow_scripts.core.config.sources.series import SignalsDataset
from workflow_scripts.data.conversion.process_pool import ProcessPool
from workflow_scripts.data.conversion.reasons import REASONS
from workflow_scripts.data.signals.cells import Reading, SeriesCells
from workflow_scripts.data.signals.showing import Options, Request, Shown, show_all
from workflow_scripts.data.sources.cells import BadCell
from workflow_scripts.data.sources.record import SourceRecord
from workflow_scripts.data.sources.table import TableRows, records_of
from workflow_scripts.data.sources.table_files import TableRow
from workflow_scripts.data.sources.table_images import ImagePlaces, of_bytes

ROWS_A_TASK = {"text": 64, "plot": 8, "spectrogram": 8}
"""Rows that a process shows at a time, by the form: twelve spectrograms of a row take 3 MB."""

TASKS_AHEAD = 8
"""Tasks a process that are read ahead."""


@dataclass(frozen=True, slots=True)
class SignalRecord(SourceRecord):
    """A record with the series that are to be read for it."""

    readings: tuple[Reading, ...] = field(default=(), compare=False)


def records(spec: SignalsDataset, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """The records of the table at `root`, with their series as text or as images.

    Raises:
        BadFile: a table cannot be read, or is not as the entry says.
    """
    places = ImagePlaces(root, spec.images_in, lambda name: True)
    options = Options(spec.rendering, spec.most_values, secret_key() if spec.reads_files else "")
    listed = records_of(spec, root, lambda: SignalRows(spec, root, places))
    at_once = ROWS_A_TASK[spec.rendering.form]
    with ProcessPool(jobs) as pool:
        while some := list(islice(listed, at_once * TASKS_AHEAD * max(1, jobs))):
            requests = [_request(record) for record in some]
            parts = [requests[start : start + at_once] for start in range(0, len(requests), at_once)]
            shown = (one for part in pool.each(show_all, [(part, options) for part in parts]) for one in part)
            for record, what in zip(some, shown, strict=True):
                yield _with_series(record, what, spec)


class SignalRows(TableRows):
    """Rows of a table that hold series, or name files of them."""

    def __init__(self, spec: SignalsDataset, root: Path, places: ImagePlaces) -> None:
        super().__init__(spec, root, places)
        self._series = [SeriesCells(series, places) for series in spec.series]
        self._names_case = spec.case is not None
        self._signals = spec

    def record(self, row: TableRow) -> tuple[str, SourceRecord] | None:
        """See `TableRows.record`; rows about one file are one case where the entry names none.

        Of a row that may be about a DICOM file, and that cannot be used, nothing is told but its number and the reason.
        """
        entry = super().record(row)
        if entry is None:
            return None
        study, record = entry
        readings: tuple[Reading, ...] = ()
        if record.fault is None:
            try:
                readings = tuple(series.reading(row.cells) for series in self._series)
            except BadCell as error:
                record = self._faulty(record, error.fault)
        if record.fault is not None:
            private = any(series.may_be_dicom(row.cells) for series in self._series)
            return study, _untold(record, self._signals, REASONS[record.fault[0]]) if private else record
        given = {item.name: getattr(record, item.name) for item in fields(SourceRecord)}
        if not self._names_case:
            file = next((reading.file for reading in readings if reading.file is not None), None)
            given["case"] = record.case or ("" if file is None else file.stem)
        return study, SignalRecord(**given, readings=readings)


def _request(record: SourceRecord) -> Request:
    if not isinstance(record, SignalRecord):
        return Request(record.question, (), ())
    texts = (record.question, str(record.answer), *record.groups.values(), record.task, record.subset, record.modality)
    return Request(record.question, record.readings, texts)


def _untold(record: SourceRecord, spec: SignalsDataset, detail: str) -> SourceRecord:
    """A record that cannot be used, without anything of its row that may name a patient."""
    assert record.fault is not None
    subset, modality, task = (cell.constant() if cell else None for cell in (spec.subset, spec.modality, spec.task))
    return SourceRecord(
        record.folder,
        modality or "Image",
        subset or "unnamed",
        _number_of(record),
        task or "",
        "",
        None,
        fault=(record.fault[0], detail),
    )


def _number_of(record: SourceRecord) -> str:
    """Where a row stands, by its number alone: an id may be a person's, and a table may be called after one."""
    number = re.search(r", row (\d+)(?:, id .*)?$", record.place, re.DOTALL)
    return f"row {number[1] if number else '?'} of the table"


def _with_series(record: SourceRecord, shown: Shown, spec: SignalsDataset) -> SourceRecord:
    """A record with its question and images; of a DICOM file with its patient's pseudonym as the case."""
    if not isinstance(record, SignalRecord) or record.fault is not None:
        return record
    if shown.fault is not None:
        record = replace(record, images=(), fault=shown.fault)
        return _untold(record, spec, shown.fault[1]) if shown.private else record
    if shown.private:
        record = replace(record, place=_number_of(record), case=shown.patient)
    drawn = tuple(replace(of_bytes(data), role=role) for data, role in shown.images)
    return replace(record, question=shown.question, images=(*record.images, *drawn))
