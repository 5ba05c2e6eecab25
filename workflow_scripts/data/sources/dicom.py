"""Questions from a folder of DICOM files and the table beside it; no name, identifier or date of either is passed on.

Each row of the table is a record. So is each file that cannot be used, and each series: it is in quarantine whether a
row names it or not.
"""

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from workflow_scripts.cache.private_files import stamps_of
from workflow_scripts.cache.pseudonyms import Pseudonyms, secret_key
from workflow_scripts.cache.source_files import table_files
from workflow_scripts.core.config.sources.cells import ColumnCell
from workflow_scripts.core.config.sources.dicom import DicomDataset, DicomKey
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.data.dicom.deidentify import Done
from workflow_scripts.data.dicom.identifiers import Known
from workflow_scripts.data.dicom.images import Showing, Shown, show
from workflow_scripts.data.dicom.processes import each_apart
from workflow_scripts.data.dicom.reading import BadDicom
from workflow_scripts.data.dicom.scanning import MODALITIES, Fault, Options, Scan, key_pseudonym, scan
from workflow_scripts.data.dicom.series import Instance, Series, series_of
from workflow_scripts.data.sources import table
from workflow_scripts.data.sources.record import SourceImage, SourceRecord

FILES_A_TASK = 64
"""Headers that a process reads at a time."""

KEY, PRIOR = "\0key", "\0prior"
"""Groups under which the table's reader hands over the cells that name images; they are taken out again."""

Reason = tuple[str, str]


def records(spec: DicomDataset, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """The records of the folder at `root`: rows that share their series follow each other.

    Raises:
        BadFile: the folder or the table cannot be read, or no DICOM file is there.
    """
    options = Options(secret_key(), spec.phi, tuple(sorted(spec.groups.items())))
    result = _scan(root, options, jobs)
    if not result.instances and not result.faults:
        raise BadFile(f"{root} holds no DICOM file; give the folder that does")
    known = Known()
    for patient, identifiers in result.identifiers:
        known.add(patient, identifiers)
    folder = _Folder(result, spec.modalities)
    _log(result, folder)
    rows = _Rows(spec, Pseudonyms(options.key), folder, known if spec.phi == "unknown" else Known())
    showing = Showing(spec.windows, spec.most_slices, spec.burned_in, spec.implausible)
    together: dict[tuple[str, ...], list[_Row]] = {}
    for row in (listed := rows.all()):
        together.setdefault(row.names, []).append(row)
    tasks = [([folder.series[name] for name in names], options, showing) for names in together]
    for (names, same), shown in zip(together.items(), each_apart(show, tasks, jobs), strict=True):
        crashed = Shown(fault=("bad_pixel_data", "the decoder crashed"))
        by_name = dict(zip(names, shown or [crashed] * len(names), strict=True))
        for row in same:
            yield _with_images(row, by_name)
    yield from _unusable(listed[0].record, folder)


def _scan(root: Path, options: Options, jobs: int) -> Scan:
    names = list(stamps_of(root))
    parts = [names[start : start + FILES_A_TASK] for start in range(0, len(names), FILES_A_TASK)]
    result = Scan()
    for part, of_part in zip(parts, each_apart(scan, [(root, part, options) for part in parts], jobs), strict=True):
        if of_part is not None:
            result.add(of_part)
            continue
        # A process died: file by file, so that one is to blame.
        for name, alone in zip(part, each_apart(scan, [(root, [name], options) for name in part], 1), strict=True):
            file = Pseudonyms(options.key).of("file", name)
            crashed = Fault(file, "unreadable_dicom", "reading the file crashed")
            result.add(alone if alone is not None else Scan(faults=[crashed]))
    return result


class _Folder:
    """The series of a folder, and what its files are named by."""

    def __init__(self, result: Scan, modalities: Sequence[str]) -> None:
        self.series: dict[str, Series] = {}
        self.faults = list(result.faults)
        self.broken: dict[str, Reason] = {}  # by series
        self.left_out = 0  # images of other modalities than those to take
        self._alone: dict[tuple[str, str], list[Instance]] = {}  # files by kind, instance or file, and pseudonym
        self._named: dict[tuple[str, str], dict[str, None]] = {}  # series by kind and pseudonym, in their order
        self._unusable: dict[tuple[str, str], Reason] = {}  # by kind and pseudonym
        by_series: dict[str, list[Instance]] = {}
        for instance in sorted(result.instances, key=lambda item: str(item.place)):
            if modalities and instance.modality not in modalities:
                self.left_out += 1
            else:
                by_series.setdefault(instance.series, []).append(instance)
        for fault in self.faults:
            taken = not modalities or fault.modality in (*modalities, "")
            for kind, pseudonym in fault.keys if taken and fault.reason != "not_an_image" else ():
                if pseudonym:
                    self._unusable.setdefault((kind, pseudonym), (fault.reason, f"of a file: {fault.detail}"))
        for name, instances in by_series.items():
            self._add(name, instances)

    def _add(self, name: str, instances: list[Instance]) -> None:
        try:
            series = series_of(instances)
            self.series[name] = series
            for copy in series.copies:
                self.faults.append(
                    Fault(copy.file, "duplicate_instance", "another file is this instance, byte by byte")
                )
        except BadDicom as error:
            self.broken[name] = (error.reason, str(error))
        except OSError:
            self.broken[name] = ("unreadable_dicom", "a file of the series cannot be read")
        for item in instances:
            for key in (("instance", item.instance), ("file", item.file)):
                self._alone.setdefault(key, []).append(item)
            of = {} if item.localizer else {"study": item.study, "accession": item.accession, "patient": item.patient}
            for kind, pseudonym in {"series": item.series, **of}.items():
                if pseudonym:
                    self._named.setdefault((kind, pseudonym), {})[name] = None

    def find(self, kind: str, pseudonym: str) -> list[Series]:
        """The series that a key names; of an instance or a file, a series of it alone.

        Raises:
            BadDicom: there is none, one of them cannot be used, or they are several volumes.
        """
        if (reason := self._unusable.get((kind, pseudonym))) is not None:
            raise BadDicom(*reason)
        if (alone := self._alone.get((kind, pseudonym))) is not None:
            return [_alone(alone)]
        names = list(self._named.get((kind, pseudonym), ()))
        if not names:
            raise BadDicom("missing_image", f"no file is of the {kind} that the row names")
        for name in names:
            if name in self.broken:
                raise BadDicom(*self.broken[name])
        listed = sorted((self.series[name] for name in names), key=_place_in_study)
        if len(listed) > 1 and any(series.volume for series in listed):
            raise BadDicom("ambiguous_series", f"the {kind} holds {len(listed)} series; name one of them in the table")
        return listed


def _alone(files: Sequence[Instance]) -> Series:
    """A series of one instance.

    Raises:
        BadDicom: its files differ, or cannot be read.
    """
    try:
        series = series_of(files, whole=False)
    except OSError:
        raise BadDicom("unreadable_dicom", "a file of the instance cannot be read") from None
    return replace(series, name=series.first.instance)


def _place_in_study(series: Series) -> tuple[bool, int, bool, int]:
    """SeriesNumber, then InstanceNumber; what has none goes last, in the order of the files' paths."""
    first = series.first
    return first.series_number is None, first.series_number or 0, first.number is None, first.number or 0


class _Row:
    """A row of the table with the series that it is about."""

    def __init__(self, record: SourceRecord, current: Sequence[str] = (), prior: Sequence[str] = ()) -> None:
        self.record, self.current, self.prior = record, tuple(current), tuple(prior)

    @property
    def names(self) -> tuple[str, ...]:
        """The series to show, each once."""
        return tuple(dict.fromkeys((*self.prior, *self.current)))


class _Rows:
    """The rows of the table: their keys become pseudonyms, and texts that name a person are taken out."""

    def __init__(self, spec: DicomDataset, pseudonyms: Pseudonyms, folder: _Folder, known: Known) -> None:
        self._spec, self._pseudonyms, self._folder, self._known = spec, pseudonyms, folder, known
        self._tables: list[str] = []  # what the rows' places call them
        keys = {KEY: spec.key} | ({PRIOR: spec.prior} if spec.prior else {})
        groups = {name: ColumnCell(column=key.column) for name, key in keys.items()}
        self._table = spec.questions.model_copy(update={"groups": {**spec.questions.groups, **groups}, "images": ()})

    def all(self) -> list[_Row]:
        """Each row; those that cannot be used have a fault.

        One subset's images are of one modality: of a folder of several, each has a subset of its own.

        Raises:
            BadFile: the table cannot be read, or holds no row.
        """
        path = Path(str(self._spec.questions.path)).expanduser()
        rows = []
        for record in self._records(path):
            groups = dict(record.groups)
            key, prior = groups.pop(KEY, ""), groups.pop(PRIOR, "")
            record = replace(record, groups=groups, place=self._place(record.place), images=(), case="")
            rows.append(self._row(record, key, prior))
        if not rows:
            raise BadFile(f"{path}: the table of questions holds no row")
        modalities = list(dict.fromkeys(row.record.modality for row in rows if row.record.fault is None))
        for row in rows:
            record = row.record
            if record.fault is not None and modalities:
                record = replace(record, modality=modalities[0])
            if len(modalities) > 1:
                record = replace(record, subset=f"{record.subset} {record.modality}")
            row.record = record
        return rows

    def _records(self, path: Path) -> Iterator[SourceRecord]:
        """The records of the table; an error's words are repeated only if they name nobody."""
        try:
            listed = [file for file, _ in table_files(self._table, path)]
            self._tables = [file.relative_to(path).as_posix() if path.is_dir() else file.name for file in listed]
            yield from table.records(self._table, path, 1)
        except BadFile as error:
            detail = self._without_names(str(error).removeprefix(f"{path}"))
            raise BadFile(f"the table of questions: {detail.lstrip(', :')}") from None

    def _place(self, written: str) -> str:
        """Where a row stands, by its number in its file; the file's name may be somebody's."""
        tables = [table for table in self._tables if written.startswith(f"{table}, row ")]
        table = max(tables, key=len)
        number = re.match(r"\d+", written.removeprefix(f"{table}, row "))
        of = f"table {self._tables.index(table) + 1} of " if len(self._tables) > 1 else ""
        return f"row {number[0] if number else '?'} of {of}the questions"

    def _row(self, record: SourceRecord, key: str, prior: str) -> _Row:
        if record.fault is not None:
            # Its words may quote the row.
            return self._bad(record, (record.fault[0], self._without_names(record.fault[1])))
        try:
            if not key:
                raise BadDicom("no_image_named", f"{self._spec.key.column} is empty")
            current = self._find(self._spec.key, key)
            earlier = self._find(self._spec.prior, prior) if self._spec.prior and prior else []
        except BadDicom as error:
            return self._bad(record, (error.reason, str(error)))
        patients = {series.first.patient for series in (*current, *earlier)} - {""}
        if len(patients) > 1:
            return self._bad(record, ("mixed_series", f"the row names images of {len(patients)} patients"))
        texts = [record.question, str(record.answer), *record.groups.values(), record.task]
        for text in (*texts, record.subset, record.modality):
            if (fault := self._known.fault(text, patients)) is not None:
                return self._bad(record, ("identifier_in_text", f"a value of the row holds {fault}"))
        first = current[0].first
        retained = {name: value for name, value in first.groups if self._known.fault(value, patients) is None}
        modality = record.modality
        if self._spec.questions.modality == TableDataset.model_fields["modality"].default:
            modality = MODALITIES[first.modality]
        case = first.patient or first.study or first.series
        record = replace(
            record, groups={**retained, **record.groups}, modality=modality, case=case.removeprefix("2.25.")
        )
        for series in (*current, *earlier):
            self._folder.series.setdefault(series.name, series)
        return _Row(record, [series.name for series in current], [series.name for series in earlier])

    def _find(self, key: DicomKey, value: str) -> list[Series]:
        return self._folder.find(key.names, key_pseudonym(self._pseudonyms, key.names, value))

    def _bad(self, record: SourceRecord, fault: Reason) -> _Row:
        """A row that cannot be used, below a folder and with a task that name nobody."""
        subset = self._safe(record.subset, cell.constant() if (cell := self._table.subset) else None, "unnamed")
        modality = self._safe(record.modality, self._table.modality.constant(), "Image")
        task = self._safe(record.task, self._table.task.constant(), "")
        return _Row(_blank(replace(record, subset=subset, modality=modality, task=task), fault))

    def _safe(self, value: str, constant: str | None, other: str) -> str:
        """A value that the configuration gives or that names nobody; else `other`."""
        return value if value == constant or self._names_nobody(value) else other

    def _names_nobody(self, text: str) -> bool:
        return self._known.fault(text, self._known.by_patient) is None

    def _without_names(self, detail: str) -> str:
        if self._names_nobody(detail):
            return detail
        return "a row is not as the entry says; the details are left out, since they would name a patient"


def _blank(record: SourceRecord, fault: Reason) -> SourceRecord:
    """A record that cannot be used, without its words and groups: what they hold cannot be checked against files."""
    return replace(record, question="", answer=None, groups={}, fault=fault)


def _with_images(row: _Row, shown: Mapping[str, Shown]) -> SourceRecord:
    """The record of a row with its images; those of an earlier examination go first."""
    if row.record.fault is not None:
        return row.record
    images: list[SourceImage] = []
    for role, names in (("prior", row.prior), ("current", row.current)):
        for name in names:
            if (fault := shown[name].fault) is not None:
                return _blank(row.record, fault)
            images += _with_role(shown[name].images, role) if row.prior else shown[name].images
    return replace(row.record, images=tuple(images))


def _with_role(images: Iterable[SourceImage], role: str) -> list[SourceImage]:
    return [replace(image, role=f"{role} {image.role}".strip()) for image in images]


def _unusable(example: SourceRecord, folder: _Folder) -> Iterator[SourceRecord]:
    """A record of each file and each series that cannot be used."""
    listed = [(f"file {fault.file}", (fault.reason, fault.detail)) for fault in folder.faults]
    listed += [(f"series {name}", reason) for name, reason in folder.broken.items()]
    for place, reason in sorted(listed):
        yield replace(_blank(example, reason), place=place, task="", images=(), case="")


def _log(result: Scan, folder: _Folder) -> None:
    """Say what was done, by tag, action and count; no value is among it."""
    say = [
        f"{len(result.instances)} images in {len(folder.series)} series; {len(folder.broken)} series and "
        f"{len(folder.faults)} files cannot be used; {result.others} files are no DICOM; {folder.left_out} images are "
        "of other modalities"
    ]
    say += [f"  {done.tag} {done.name}: {done.action}, {count} times" for done, count in _sorted(result.counts)]
    print("\n".join(say), file=sys.stderr, flush=True)


def _sorted(counts: Counter[Done]) -> list[tuple[Done, int]]:
    return sorted(counts.items())
