"""Questions from a source of the kind `table`: each row is a question, or several rows are one study with labels."""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from workflow_scripts.core.config.sources.cells import ColumnCell, TextCell
from workflow_scripts.core.config.sources.table import FOLDER_NAME, FOLDERS, TableDataset
from workflow_scripts.core.files import BadFile, is_unicode, sha256_of, sha256_of_file
from workflow_scripts.core.tasks import normalise_task, tasks
from workflow_scripts.data.sources.cells import BadCell, Reader, chooser_of, reader_of, text_of
from workflow_scripts.data.sources.record import SourceImage, SourceRecord
from workflow_scripts.data.sources.table_files import Cells, Fault, TableRow, is_missing, list_in, plain, rows_of_tables
from workflow_scripts.data.sources.table_images import ImagePlaces
from workflow_scripts.data.sources.table_labels import label_answer, label_question, studies_of

LONGEST = 200_000
"""Characters of a question and of a text answer; as the conversion has it."""

SHOWN = 200
"""Characters that are left of a question or an answer that is too long."""

SHARED_IMAGE = "image_in_training"
"""The group of `mark_shared_images`."""


def records(spec: TableDataset, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """The records of the source at `root`, in the order of its rows, those of training tables first.

    Raises:
        BadFile: a table cannot be read, or is not as the entry says; `where` takes no row.
    """
    places = ImagePlaces(root, spec.images_in)
    return records_of(spec, root, lambda: TableRows(spec, root, places))


def records_of(spec: TableDataset, root: Path, rows: Callable[[], "TableRows"]) -> Iterator[SourceRecord]:
    """`records`, by what `rows` makes of each row."""
    contents = _Contents()
    shared = _images_of_training(spec, root, rows(), contents) if spec.mark_shared_images else None
    rows_read = rows()
    rows_read.unread.clear()  # of the look at training
    listed = _records(spec, root, rows_read)
    plain_or_joined = studies_of(listed) if spec.study is not None else (record for _, record in listed)
    empty = True
    for record in plain_or_joined:
        empty = False
        if shared is not None and record.folder != "training" and record.fault is None:
            both = any(contents.of(image) in shared for image in record.images)
            record = replace(record, groups={**record.groups, SHARED_IMAGE: "yes" if both else "no"})
        yield record
    for name, count in sorted(rows_read.unread.items()):
        print(f"{count} rows are without the group {name!r}: its cell cannot be read", file=sys.stderr, flush=True)
    if empty:
        raise BadFile(f"{root}: the tables hold no row that `where` takes; see the values of {', '.join(spec.where)}")


def _records(spec: TableDataset, root: Path, rows: "TableRows") -> Iterator[tuple[str, SourceRecord]]:
    """The record of each row that `where` takes, with the study that it belongs to."""
    for row in rows_of_tables(spec, root):
        entry = rows.record(row)
        if entry is not None:
            yield entry


class _Contents:
    """SHA-256 of images, each file read once."""

    def __init__(self) -> None:
        self._of_files: dict[str, str] = {}

    def of(self, image: SourceImage) -> str | None:
        """The hash of an image's bytes; None where it is missing."""
        if image.sha256 or image.data is not None:
            return image.sha256 or sha256_of(image.data or b"")
        if image.file is None:
            return None
        if (sha256 := self._of_files.get(image.file)) is None:
            sha256 = self._of_files[image.file] = sha256_of_file(Path(image.file))
        return sha256


def _images_of_training(spec: TableDataset, root: Path, rows: "TableRows", contents: _Contents) -> set[str]:
    """Hashes of the images of training rows."""
    hashes: set[str | None] = set()
    for row in rows_of_tables(spec, root):
        if row.folder not in (None, "training"):
            break  # tables of training come first
        entry = rows.record(row)
        if entry is not None and entry[1].folder == "training":
            hashes |= {contents.of(image) for image in entry[1].images}
    return {sha256 for sha256 in hashes if sha256 is not None}


class TableRows:
    """What makes a record of a row: the entry's cells, compiled once."""

    def __init__(self, spec: TableDataset, root: Path, places: ImagePlaces) -> None:
        self._spec, self._places = spec, places
        self._take = chooser_of(spec.where, spec.where_not)
        self._split = _folder_reader(spec, root)
        self._task = reader_of(spec.task)
        self._modality, self._subset = reader_of(spec.modality), reader_of(_subset_of(spec))
        self._question = reader_of(spec.question)
        self._answer = _answer_reader(spec.answer)
        self._rubric = _rubric_reader(spec)
        self._id = None if spec.id is None else reader_of(spec.id)
        self._case = None if spec.case is None else reader_of(spec.case)
        self._study = None if spec.study is None else reader_of(spec.study)
        self._images = [(image, self._image_reader(image)) for image in spec.images]
        self._groups = [(name, reader_of(cell)) for name, cell in spec.groups.items()]
        self.unread: Counter[str] = Counter()  # rows by the group that they lack since its cell cannot be read
        self._ids: dict[tuple[str, str, str], str] = {}
        self._label_question = "" if spec.labels is None else label_question(spec.labels)

    def _image_reader(self, image: Any) -> Callable[[Cells], object]:
        plain_column = image.column is not None and not (image.pattern or image.values or image.bands)
        if plain_column:
            column = image.columns()[0][0]
            return lambda row: row.get(column)
        return reader_of(image)

    def record(self, row: TableRow) -> tuple[str, SourceRecord] | None:
        """The record of a row and its study; None where `where` leaves the row out."""
        folder, modality, subset, place = row.folder or "training", "Image", "unnamed", row.place
        if row.fault is not None:
            return row.place, self._faulty(SourceRecord(folder, modality, subset, place, "", "", None), row.fault)
        try:
            if not self._take(row.cells):
                return None
            folder = self._folder(row)
            names = _name(self._subset(row.cells), "subset"), _name(self._modality(row.cells), "modality")
            subset, modality = names
            place = self._place_with_id(folder, subset, row)
            case = self._case(row.cells) if self._case is not None else None
            groups = dict(self._groups_of(row.cells)) if self._groups else {}
            images = tuple(self.images_of(row.cells))
            study, (task, question, answer) = self._study_of(row), self._question_of(row.cells)
            case = case or _case_of(images)
            return study, SourceRecord(
                folder,
                modality,
                subset,
                place,
                task,
                question,
                answer,
                images=images,
                case=case,
                groups=groups,
                rubric=self._rubric(row.cells),
            )
        except BadCell as error:
            record = SourceRecord(folder, modality, subset, place, "", "", None)
            return row.place, self._faulty(record, error.fault)

    def _faulty(self, record: SourceRecord, fault: Fault) -> SourceRecord:
        """The record of a row that cannot be used, with what can be told of it; it stands where its constants say."""
        subset, modality = (cell.constant() for cell in (_subset_of(self._spec), self._spec.modality))
        return replace(
            record,
            subset=record.subset if record.subset != "unnamed" else subset or record.subset,
            modality=modality or record.modality,
            images=(),
            fault=(fault.reason, fault.detail[:400]),
        )

    def _folder(self, row: TableRow) -> str:
        folder = row.folder or self._split(row.cells)
        if folder is None:
            raise BadCell("unknown_split", "the row has no split")
        if folder not in FOLDERS:
            raise BadCell(
                "unknown_split",
                f"{folder[:80]!r} is none of {', '.join(FOLDERS)}; say in `values` of `split` which of them it means",
            )
        return folder

    def _place_with_id(self, folder: str, subset: str, row: TableRow) -> str:
        """The place of a row with its id, where it has one; raises BadCell where another row has it too."""
        if self._id is None or (name := self._id(row.cells)) is None:
            return row.place
        earlier = self._ids.setdefault((folder, subset, name), row.place)
        if earlier != row.place:
            raise BadCell("duplicate", f"its id {name[:80]!r} is that of {earlier} too")
        return f"{row.place}, id {name}"

    def _groups_of(self, cells: Cells) -> Iterator[tuple[str, str]]:
        """The groups of a row; one that cannot be read is left out, and the row stays."""
        for name, read in self._groups:
            try:
                value = read(cells)
            except BadCell:
                self.unread[name] += 1
                continue
            if value is not None:
                yield name, value

    def _study_of(self, row: TableRow) -> str:
        if self._study is None:
            return row.place
        study = self._study(row.cells)
        if study is None:
            raise BadCell("no_image_named", "the row names no study")
        return study

    def images_of(self, cells: Cells) -> Iterator[SourceImage]:
        """The images of a row, with their roles; raises BadCell."""
        for image, read in self._images:
            value = read(cells)
            listed = self._places.images_of(value, str(image.column or image.text))
            if not listed and not image.optional:
                raise BadCell("no_image_named", f"{image.column or image.text} is empty")
            yield from (replace(one, role=image.role) for one in listed) if image.role else listed

    def _question_of(self, cells: Cells) -> tuple[str, str, object]:
        """Task, question and answer of a row."""
        spec = self._spec
        if spec.labels is not None:
            return spec.labels.task, self._label_question, label_answer(spec.labels, cells)
        question, task = self._question(cells), self._task(cells)
        answer = self._answer(cells)
        options = _options(cells, spec.options, task) if spec.options else []
        if options:
            if question is not None:
                question = f"{question} Options: {' '.join(f'{letter}) {text}' for letter, text in options)}"
            answer = _letter(answer, options) if spec.answer_is == "index" else answer
        for value in (question, answer):
            if isinstance(value, str) and len(value) > LONGEST:
                raise BadCell("too_long", f"{len(value)} characters, of {LONGEST} at most: {value[:SHOWN]}…")
        return task or "", question or "", answer


def _subset_of(spec: TableDataset) -> Any:
    if spec.subset is None:
        raise BadFile("the entry names no `subset`; give one")
    return spec.subset


def _folder_reader(spec: TableDataset, root: Path) -> Reader:
    """What reads the split folder of a row: its value of `split`, or the list that holds this value."""
    read = reader_of(spec.split)
    if not spec.lists:
        return read
    base = root if root.is_dir() else root.parent
    folders: dict[str, str] = {}
    for folder, name in spec.lists.items():
        try:
            lines = (base / name).read_text(encoding="utf-8-sig").split()
        except (OSError, ValueError) as error:
            raise BadFile(f"{base / name}, which `lists` names, cannot be read: {error}") from None
        for line in lines:
            if folders.setdefault(line, folder) != folder:
                raise BadFile(f"{base / name}: {line} is listed for {folders[line]} too; a row has one split folder")

    def listed(cells: Cells) -> str | None:
        value = read(cells)
        if value is not None and value not in folders:
            raise BadCell("unknown_split", f"{value[:80]!r} is in none of {', '.join(spec.lists.values())}")
        return None if value is None else folders[value]

    return listed


def _name(value: str | None, key: str) -> str:
    """A value that names a folder; others could lead out of it."""
    if value is None or not FOLDER_NAME.fullmatch(value):
        raise BadCell("bad_cell", f"{key} is {(value or '')[:80]!r}; expected letters, digits, spaces and ._()+-")
    return value


def _case_of(images: tuple[SourceImage, ...]) -> str:
    """The case of a row that names none: an image of the table itself is one; of files, their names tell."""
    if images and images[0].sha256:
        return images[0].name.rpartition("/")[2].partition(".")[0]
    return ""


def _answer_reader(answer: str | ColumnCell) -> Callable[[Cells], object]:
    """What reads the answer of a row: of a column whatever it holds, else a text."""
    if isinstance(answer, ColumnCell):
        return reader_of(answer)

    def read(cells: Cells) -> object:
        try:
            return plain(cells.get(answer))
        except TypeError:
            raise BadCell("wrong_answer_type", f"{answer} holds bytes") from None

    return read


def _rubric_reader(spec: TableDataset) -> Callable[[Cells], object]:
    """What reads by which rubric a row is graded: a name, what a column holds, or a name and the items of a column."""
    name, column = _rubric_name_reader(spec.rubric), spec.rubric_items
    if column is None:
        return name
    return lambda row: {"rubric": name(row) or "item_list", "items": _held(row, column)}


def _rubric_name_reader(cell: TextCell | None) -> Callable[[Cells], object]:
    if cell is None:
        return lambda row: None
    if cell.column is not None and not (cell.pattern or cell.values or cell.bands):
        [column, *_] = cell.columns()[0]
        return lambda row: _held(row, column)
    return reader_of(cell)


def _held(cells: Cells, column: str) -> object:
    """What a cell holds, lists and objects in a text among them; None where it is empty."""
    cell = cells.get(column)
    try:
        return None if is_missing(cell) else plain(list_in(cell))
    except TypeError:
        raise BadCell("bad_rubric", f"{column} holds bytes") from None


def _options(cells: Cells, columns: tuple[str, ...], spelling: str | None) -> list[tuple[str, str]]:
    """The options of a row with their letters: those of several columns, or the list in the one.

    Blanks at the end are none; one before another option would shift the letters that indices stand for. Where all are
    blank a row has none, if its task can do without.
    """
    values: object = [cells.get(column) for column in columns]
    if len(columns) == 1:
        values = list_in(cells.get(columns[0]))
        values = list(values.values()) if isinstance(values, dict) else values
    while isinstance(values, list) and values and is_missing(values[-1]):
        values = values[:-1]
    if values == [] or is_missing(values):
        task = normalise_task(spelling)
        if task is not None and not tasks()[task].needs_options:
            return []
        raise BadCell("bad_cell", f"{', '.join(columns)} are blank; a row of {spelling or 'no task'} needs its options")
    if not isinstance(values, list) or not 2 <= len(values) <= 26:
        raise BadCell("bad_cell", f"{', '.join(columns)} hold no list of 2 to 26 options")
    texts = [" ".join((text_of(value, columns[0]) or "").split()) for value in values]
    if not all(texts):
        raise BadCell("bad_cell", f"an option in {', '.join(columns)} is empty, and another follows")
    if not all(map(is_unicode, texts)):
        raise BadCell("bad_text", f"an option in {', '.join(columns)} is not valid Unicode")
    return [(chr(ord("A") + place), text) for place, text in enumerate(texts)]


def _letter(answer: object, options: list[tuple[str, str]]) -> str:
    """The letter of the option that an index names."""
    try:
        place = int(float(str(answer)))
    except (ValueError, OverflowError):
        raise BadCell("answer_not_an_option", f"the answer {str(answer)[:80]!r} is no index") from None
    if float(str(answer)) != place or not 0 <= place < len(options):
        raise BadCell("answer_not_an_option", f"the answer {place} is no index of {len(options)} options")
    return options[place][0]
