"""Tables between stages: Parquet with a pyarrow schema that follows from a row's dataclass in `core.rows`.

A schema is checked at writing and at reading.
"""

import dataclasses
import types
import typing
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from workflow_scripts.core.files import BadFile, atomic

Kind = TypeVar("Kind")
"""A dataclass of `core.rows`."""

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


def _builder(annotation: Any) -> Callable[[Any], Any] | None:
    """What turns a value from Arrow into the annotated type; None where it is that already."""
    inner, nullable = _optional(annotation)
    build = _builder_of_present(inner)
    if build is None or not nullable:
        return build
    return lambda value: None if value is None else build(value)


def _builder_of_present(annotation: Any) -> Callable[[Any], Any] | None:
    if annotation in _PLAIN:
        return None
    if typing.get_origin(annotation) is tuple:
        item = _builder(typing.get_args(annotation)[0])
        return tuple if item is None else lambda values: tuple([item(value) for value in values])
    builders = [(name, _builder(inner)) for name, inner in typing.get_type_hints(annotation).items()]

    def build(value: dict[str, Any]) -> Any:
        return annotation(*[value[name] if make is None else make(value[name]) for name, make in builders])

    return build


def table_of(rows: Iterable[Kind], kind: type[Kind]) -> pa.Table:
    """Rows as an Arrow table under the schema of their dataclass.

    Raises:
        ValueError: a value is of another type.
    """
    rows, schema = list(rows), schema_of(kind)
    try:
        columns = [pa.array([getattr(row, field.name) for row in rows], field.type) for field in schema]
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise ValueError(f"{kind.__name__}: a value does not fit its column: {error}") from error
    return pa.Table.from_arrays(columns, schema=schema)


def rows_of(table: pa.Table, kind: type[Kind]) -> list[Kind]:
    """The rows of a table, or of those of its columns that are there: the others must have defaults."""
    hints = typing.get_type_hints(kind)
    names = [name for name in hints if name in table.column_names]
    columns = []
    for name in names:
        values, build = table[name].to_pylist(), _builder(hints[name])
        columns.append(values if build is None else [build(value) for value in values])
    positional = names == [field.name for field in dataclasses.fields(kind)][: len(names)]  # type: ignore[arg-type]
    if positional:
        return [kind(*values) for values in zip(*columns, strict=True)]
    return [kind(**dict(zip(names, values, strict=True))) for values in zip(*columns, strict=True)]


def write_table(path: Path, table: pa.Table, kind: type) -> None:
    """Write a table as Parquet under the schema of `kind`, atomically.

    Raises:
        ValueError: a column is missing, of another type, or null where it must not be.
    """
    schema = schema_of(kind)
    try:
        table = table.select(schema.names).cast(schema)
        for field in schema:
            if not field.nullable and table[field.name].null_count:
                raise ValueError(f"column {field.name!r} has {table[field.name].null_count} null values")
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
        table = pq.read_table(path)
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
