"""Tables between stages: Parquet with a pyarrow schema that follows from a row's dataclass in `core.rows`.

A schema is checked at writing and at reading.
"""

import gc
import types
import typing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.files import BadFile, atomic

Kind = TypeVar("Kind")
"""A frozen dataclass with slots, as of `core.rows`."""

_PLAIN = {str: pa.string(), int: pa.int32(), float: pa.float64(), bool: pa.bool_()}


@cache
def schema_of(kind: type) -> pa.Schema:
    """The Arrow schema of a dataclass: integers of 32 bits, tuples as lists, named tuples as structs."""
    fields = []
    for name, annotation in typing.get_type_hints(kind).items():
        inner, nullable = _optional(annotation)
        fields.append(pa.field(name, _arrow_type(inner), nullable=nullable))
    return pa.schema(fields)


def _optional(annotation: Any) -> tuple[Any, bool]:
    """The type without `None`, and whether None was there."""
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        (inner,) = [argument for argument in typing.get_args(annotation) if argument is not types.NoneType]
        return inner, True
    return annotation, False


def _arrow_type(annotation: Any) -> pa.DataType:
    annotation, _ = _optional(annotation)
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    if typing.get_origin(annotation) is tuple:
        return pa.list_(_arrow_type(typing.get_args(annotation)[0]))
    hints = typing.get_type_hints(annotation)
    return pa.struct([(name, _arrow_type(inner)) for name, inner in hints.items()])


def _values_of(array: pa.Array, annotation: Any) -> list[Any]:
    """The Python values of an Arrow array in the annotated type; nested columns are converted as wholes."""
    annotation, _ = _optional(annotation)
    if annotation in _PLAIN:
        return list(array.to_pylist())
    if typing.get_origin(annotation) is tuple:
        items = _values_of(array.flatten(), typing.get_args(annotation)[0])
        values, start = [], 0
        for size in array.value_lengths().to_pylist():
            end = start + (size or 0)
            values.append(tuple(items[start:end]) if size else ())
            start = end
    else:
        hints = typing.get_type_hints(annotation)
        fields = [_values_of(part, hint) for part, hint in zip(array.flatten(), hints.values(), strict=True)]
        # A named tuple's own constructor takes twice as long.
        values = list(map(partial(tuple.__new__, annotation), zip(*fields, strict=True)))
    if not array.null_count:
        return values
    return [value if valid else None for value, valid in zip(values, array.is_valid().to_pylist(), strict=True)]


@contextmanager
def without_collection() -> Iterator[None]:
    """Pause the search for reference cycles: rows have none, and it takes half of the time that making them takes."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def table_of(rows: Iterable[Kind], kind: type[Kind]) -> pa.Table:
    """Rows as an Arrow table under the schema of their dataclass.

    Raises:
        ValueError: a value is of another type.
    """
    rows, schema = list(rows), schema_of(kind)  # type: ignore[arg-type]
    try:
        columns = [pa.array(list(map(attrgetter(field.name), rows)), field.type) for field in schema]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"{kind.__name__}: a value does not fit its column: {error}") from error
    return pa.Table.from_arrays(columns, schema=schema)


def rows_of(table: pa.Table, kind: type[Kind]) -> list[Kind]:
    """The rows of a table, or of those of its columns that are there: the others must have defaults."""
    hints = typing.get_type_hints(kind)
    names = [name for name in hints if name in table.column_names]
    with without_collection():
        columns = [_values_of(table[name].combine_chunks(), hints[name]) for name in names]
        if names == list(hints) and not hasattr(kind, "__post_init__"):
            return _whole_rows(kind, names, columns, len(table))
        return [kind(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def _whole_rows(kind: type[Kind], names: Sequence[str], columns: Sequence[Sequence[Any]], size: int) -> list[Kind]:
    """Rows with all their values, set column by column: constructors of frozen dataclasses take three times as long."""
    rows: list[Kind] = [object.__new__(kind) for _ in range(size)]
    for name, values in zip(names, columns, strict=True):
        deque(map(getattr(kind, name).__set__, rows, values), maxlen=0)
    return rows


def write_table(path: Path, table: pa.Table, kind: type) -> None:
    """Write a table as Parquet under the schema of `kind`, atomically.

    Raises:
        ValueError: a column is missing, of another type, or null where it must not be.
    """
    schema = schema_of(kind)
    try:
        table = table.select(schema.names)
        for field in schema:
            if not field.nullable and table[field.name].null_count:
                raise ValueError(f"column {field.name!r} has {table[field.name].null_count} null values")
        table = table.cast(schema)
    except (pa.ArrowInvalid, pa.ArrowTypeError, KeyError) as error:
        raise ValueError(f"{path}: the rows do not fit the table's schema: {error}") from error
    with atomic(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_rows(path: Path, rows: Sequence[Kind], kind: type[Kind]) -> None:
    """Write rows as Parquet, atomically.

    Raises:
        ValueError: a value does not fit its column.
    """
    write_table(path, table_of(rows, kind), kind)


def read_table(path: Path, kind: type) -> pa.Table:
    """Read a table and check its schema.

    Raises:
        BadFile: the file is missing, damaged, or has other columns.
    """
    schema = schema_of(kind)
    try:
        with pq.ParquetFile(path) as file:  # `pq.read_table` imports what reads folders of files
            table = file.read()
    except FileNotFoundError:
        raise BadFile(f"{path} is missing; run the rule that makes it") from None
    except (pa.ArrowInvalid, OSError) as error:
        message = " ".join(str(error).split())
        raise BadFile(f"{path} is not a readable Parquet file ({message}); delete it and run again") from None
    if table.schema.names != schema.names or table.schema.types != schema.types:
        raise BadFile(
            f"{path}: expected the columns {schema.names}, found {table.schema.names}; delete it and run again"
        )
    return table


def read_rows(path: Path, kind: type[Kind]) -> list[Kind]:
    """Read the rows of a table.

    Raises:
        BadFile: the file is missing, damaged, or has other columns.
    """
    return rows_of(read_table(path, kind), kind)
