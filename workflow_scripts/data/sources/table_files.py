"""Tables as files: which ones an entry means, and their rows, read once and in order: CSV, JSON, JSON Lines, Parquet.

A row that cannot be read is one all the same, with what is wrong with it; a file that cannot be read stops the step.
"""

import csv
import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from workflow_scripts.cache.source_files import table_files
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.files import BadFile, loads

Cells = dict[str, Any]
"""Values of one row by column; a column that the row lacks is not in it."""

FAULTS = (OSError, EOFError, ValueError, csv.Error, zlib.error)
"""What reading a damaged table raises."""

BATCH = 256
"""Rows of a Parquet file at a time: images may be among its values."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a row cannot be used: a reason of `data.conversion.reasons`, and what is wrong."""

    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of a table as it stands in its file."""

    place: str  # file and row, from 1
    folder: str | None  # split folder, where the files say it
    cells: Cells
    fault: Fault | None = None


@dataclass(frozen=True)
class Columns:
    """The columns to read of a table, by their names in the file, and what the entry calls each."""

    names: dict[str, str]
    keys: dict[str, str]  # the entry's key that names a column, by what the entry calls it


def rows_of_tables(spec: TableDataset, root: Path) -> Iterator[TableRow]:
    """The rows of all tables of an entry, those of `training` first, with the columns of further tables added.

    Raises:
        BadFile: a table cannot be read, lacks a column that the entry names, or a further table has a row twice.
    """
    further = [_Further(spec, root, number) for number in range(len(spec.join))]
    added = {name for table in further for name in table.columns}
    for path, folder in table_files(spec, root):
        columns, shown = _columns(spec, path, added), _shown(path, root)
        for number, cells in enumerate(_cells_of(path, columns), start=1):
            place = f"{shown}, row {number}"
            if isinstance(cells, Fault):
                yield TableRow(place, folder, {}, cells)
                continue
            for table in further:
                table.add_to(cells)
            yield TableRow(place, folder, cells)


class _Further:
    """A table whose columns are added: its rows by the values of the columns that name them."""

    def __init__(self, spec: TableDataset, root: Path, number: int) -> None:
        self._on = spec.join[number].on
        [path] = [path for path, _ in table_files(spec, root, spec.join[number].files)]
        header = _header(path)
        if header is None:
            raise BadFile(f"{path}: a table that `join` names must be CSV or Parquet")
        if missing := [name for name in self._on if name not in header]:
            raise BadFile(f"{path} has no column {missing[0]!r}, on which it is joined; it has {', '.join(header)}")
        wanted = {name: names[0] for names in _wanted(spec) for name in names if name in header}
        names = wanted | {name: name for name in self._on}
        self.columns = frozenset(names.values()) - set(self._on)
        self._rows: dict[tuple[str, ...], Cells] = {}
        for line, cells in enumerate(_cells_of(path, Columns(names, {})), start=1):
            if isinstance(cells, Fault):
                raise BadFile(f"{path}, row {line}: {cells.detail}; mend the row")
            key = self._key(cells)
            if key in self._rows:
                raise BadFile(
                    f"{path}, row {line}: a second row for {', '.join(key)}; `join.{number}.on` must name "
                    "columns whose values are one row's"
                )
            self._rows[key] = {name: value for name, value in cells.items() if name not in self._on}

    def _key(self, cells: Cells) -> tuple[str, ...]:
        return tuple(str(cells.get(name)).strip() for name in self._on)

    def add_to(self, cells: Cells) -> None:
        """Add the columns to a row; one that has no partner goes without them."""
        for name, value in self._rows.get(self._key(cells), {}).items():
            cells.setdefault(name, value)


def _wanted(spec: TableDataset) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(names for columns in spec.columns().values() for names in columns))


def _columns(spec: TableDataset, path: Path, added: set[str]) -> Columns:
    """The columns that a table is read for; of JSON, which has no header, under all of their names.

    Raises:
        BadFile: neither it nor a further table has one of them, or it has one twice.
    """
    header = _header(path)
    names: dict[str, str] = {}
    keys: dict[str, str] = {}
    for key, columns in spec.columns().items():
        for alternatives in columns:
            if header is None:
                names |= dict.fromkeys(alternatives, alternatives[0])
                keys |= {} if alternatives[0] in added else {alternatives[0]: key}
                continue
            there = next((name for name in alternatives if name in header), None)
            if there is not None and header.count(there) > 1:
                raise BadFile(f"{path} has two columns {there!r}, which `{key}` names; rename one")
            if there is not None:
                names[there] = alternatives[0]
            elif alternatives[0] not in added:
                raise BadFile(_no_column(path, alternatives, key, header))
    return Columns(names, keys)


def _no_column(path: Path, names: Sequence[str], key: str, header: Sequence[str]) -> str:
    has = ", ".join(header[:30]) or "none"
    return f"{path} has no column {' or '.join(map(repr, names))}, which `{key}` names; it has {has}"


def _shown(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if root.is_dir() else path.name


def _form(path: Path) -> str:
    return path.name.lower().removesuffix(".gz").rpartition(".")[2]


def _open(path: Path) -> TextIO:
    """The file as text; bytes that are not UTF-8 become halves of surrogate pairs, which only their row bears."""
    opener: Any = gzip.open if path.name.lower().endswith(".gz") else open
    stream: TextIO = opener(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="")
    return stream


def _header(path: Path) -> list[str] | None:
    """The columns of a table; None for JSON, whose rows say them one by one."""
    form = _form(path)
    if form not in ("parquet", "csv", "tsv"):
        return None
    try:
        if form == "parquet":
            import pyarrow.parquet as pq

            return list(pq.read_schema(path).names)
        with _open(path) as stream:
            return next(_reader(stream, form), [])
    except FAULTS as error:
        raise BadFile(f"{path} cannot be read as a table: {_sentence(error)}") from None


def _cells_of(path: Path, columns: Columns) -> Iterator[Cells | Fault]:
    """The rows of one table, each as cells or as what is wrong with it."""
    form = _form(path)
    try:
        if form == "parquet":
            yield from _parquet_cells(path, columns)
        elif form in ("csv", "tsv"):
            yield from _csv_cells(path, form, columns)
        else:
            yield from _json_cells(path, columns)
    except FAULTS as error:
        raise BadFile(f"{path} cannot be read to its end: {_sentence(error)}; mend the file") from None


def _sentence(error: Exception) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())[:300]


def _reader(stream: TextIO, form: str) -> Any:
    csv.field_size_limit(2**31 - 1)  # what is too long is its row's affair
    return csv.reader(stream, delimiter="\t" if form == "tsv" else ",", strict=True)


def _csv_cells(path: Path, form: str, columns: Columns) -> Iterator[Cells | Fault]:
    """Rows of CSV; one with other cells than the header is none. A quote that is not closed stops the step."""
    with _open(path) as stream:
        reader = _reader(stream, form)
        header: list[str] = next(reader, [])
        wanted = [(place, columns.names[name]) for place, name in enumerate(header) if name in columns.names]
        count = len(header)
        try:
            for row in reader:
                if len(row) == count or (len(row) > count and not any(row[count:])):  # commas may end a line
                    yield {name: row[place] for place, name in wanted}
                elif row:
                    yield Fault("not_an_object", f"the row has {len(row)} cells, the header {count}")
        except csv.Error as error:
            raise ValueError(f"line {reader.line_num}: {error} (is a quote not closed?)") from None


def _json_cells(path: Path, columns: Columns) -> Iterator[Cells | Fault]:
    """Rows of JSON; a column that no row has stops the step."""
    unseen, names = dict(columns.keys), columns.names
    shown: list[str] = []
    for row in _json_rows(path):
        if isinstance(row, Fault):
            yield row
        elif isinstance(row, dict):
            cells = {names[name]: value for name, value in row.items() if name in names}
            if unseen:
                shown = shown or list(row)
                for name in cells:
                    unseen.pop(name, None)
            yield cells
        else:
            yield Fault("not_an_object", f"the row is {type(row).__name__}, expected an object")
    for name, key in unseen.items():
        raise BadFile(_no_column(path, [name], key, shown))


def _json_rows(path: Path) -> Iterator[Any]:
    """Rows of a JSON file, which is a list, or of JSON Lines; a line that is not JSON is a fault."""
    with _open(path) as stream:
        if _form(path) == "json":
            try:
                content = loads(stream.read())
            except RecursionError:
                raise ValueError("it is nested too deeply") from None
            lists = (
                [value for value in content.values() if isinstance(value, list)] if isinstance(content, dict) else []
            )
            rows = content if isinstance(content, list) else lists[0] if len(lists) == 1 else None
            if rows is None:
                raise ValueError("expected a list of rows, or an object that holds one list")
            yield from rows
            return
        for line in stream:
            if not line.strip():
                continue
            try:
                yield loads(line)
            except (ValueError, RecursionError) as error:
                yield Fault("not_an_object", f"the line is not valid JSON: {_sentence(error)}")


def _parquet_cells(path: Path, columns: Columns) -> Iterator[Cells | Fault]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(BATCH, columns=sorted(columns.names)):
                names = [columns.names[name] for name in batch.schema.names]
                values = [_values(batch.column(name)) for name in batch.schema.names]
                for row in zip(*values, strict=True):
                    yield dict(zip(names, row, strict=True))
    except pa.ArrowException as error:
        raise ValueError(_sentence(error)) from None


def _values(column: Any) -> list[Any]:
    """The values of a column; of texts that are not UTF-8, what `_open` would read."""
    import pyarrow as pa

    try:
        values: list[Any] = column.to_pylist()
    except UnicodeDecodeError:
        texts = (None if value is None else value.decode("utf-8", "surrogateescape") for value in _bytes(column, pa))
        return list(texts)
    return values


def _bytes(column: Any, pa: Any) -> list[bytes | None]:
    values: list[bytes | None] = column.cast(pa.large_binary()).to_pylist()
    return values


def is_missing(cell: object) -> bool:
    """Whether a cell holds nothing: null, a text of blanks, or NaN."""
    return (
        cell is None or (isinstance(cell, str) and not cell.strip()) or (isinstance(cell, float) and math.isnan(cell))
    )


def list_in(cell: object) -> object:
    """A list or an object that a text cell holds as JSON; anything else as it is."""
    if isinstance(cell, str) and cell.lstrip()[:1] in ("[", "{"):
        try:
            return loads(cell)
        except (ValueError, RecursionError):
            return cell
    return cell


def plain(value: object) -> object:
    """A value as JSON holds it: NaN is null, what JSON has no form for is its text.

    Raises:
        TypeError: it is bytes.
    """
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, bytes):
        raise TypeError("bytes")
    return str(value)
