"""Values of a row of a table, read as the configuration's cells say: texts, columns, patterns and bands."""

import datetime
import itertools
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from workflow_scripts.core.config.sources.cells import PLACE, Cell
from workflow_scripts.data.sources.table_files import Cells, Fault, is_missing

Reader = Callable[[Cells], str | None]
"""Reads a value of a row; None where the row has none."""

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


class BadCell(Exception):
    """A value cannot be read; `fault` says why."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.fault = Fault(reason, detail)


def text_of(cell: object, column: str = "") -> str | None:
    """A cell as text; None where it holds nothing. A whole number has no decimal point.

    Raises:
        BadCell: it is neither text nor a number, a truth value or a time.
    """
    if isinstance(cell, str):
        return cell.strip() or None
    if is_missing(cell):
        return None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < 2**53:
        return str(int(cell))
    if isinstance(cell, bool | int | float | Decimal | datetime.date | datetime.time):
        return str(cell)
    if isinstance(cell, bytes):
        return cell.decode("utf-8", "surrogateescape").strip() or None
    raise BadCell("bad_cell", f"{column} holds {type(cell).__name__}, expected a text or a number")


def reader_of(cell: Cell) -> Reader:
    """What reads the cell's value of a row."""
    constant = cell.constant()
    if constant is not None and not (cell.pattern or cell.bands or cell.values):
        return lambda row: constant
    raw = _template(cell.text or "") if cell.column is None else _column(cell.columns()[0][0])
    if not (cell.pattern or cell.bands or cell.values):
        return raw
    pattern = re.compile(cell.pattern) if cell.pattern is not None else None
    values = {key.strip().casefold(): value for key, value in cell.values.items()}
    named = cell.column or cell.text

    def read(row: Cells) -> str | None:
        value = raw(row)
        if value is None:
            return None
        if pattern is not None:
            match = pattern.search(value)
            if match is None:
                raise BadCell("bad_cell", f"{named}: {value[:80]!r} does not fit the pattern")
            value = match.group(1)
        if cell.bands:
            value = band_of(value, cell.bands, str(named))
        if values:
            stands = values.get(value.strip().casefold(), cell.otherwise)
            if stands is None:
                raise BadCell("bad_cell", f"{named}: {value[:80]!r} is none of {', '.join(cell.values)}")
            value = stands
        return value

    return read


def _column(column: str) -> Reader:
    return lambda row: text_of(row.get(column), column)


def _template(text: str) -> Reader:
    """A text with columns in it; no value where one of them holds nothing."""
    parts = [(match.start(), match.end(), match) for match in PLACE.finditer(text)]

    def read(row: Cells) -> str | None:
        written, end = [], 0
        for start, stop, match in parts:
            written.append(text[end:start])
            end = stop
            if not match[1]:
                written.append(match[0][0])
                continue
            value = text_of(row.get(match[1]), match[1])
            if value is None:
                return None
            written.append(value[: int(match[2])] if match[2] else value)
        return "".join(written) + text[end:]

    return read


def band_of(value: str, limits: tuple[float, ...], name: str) -> str:
    """The band of a number, in words: `under 18`, `18 to 64`, `65 and over`; of whole limits, both ends are in it.

    Raises:
        BadCell: there is no number in `value`.
    """
    match = _NUMBER.search(value)
    if match is None:
        raise BadCell("bad_cell", f"{name}: {value[:80]!r} holds no number")
    number = float(match[0])
    if number < limits[0]:
        return f"under {limits[0]:g}"
    for low, high in itertools.pairwise(limits):
        if number < high:
            whole = float(low).is_integer() and float(high).is_integer()
            return f"{low:g} to {high - 1:g}" if whole else f"{low:g} to under {high:g}"
    return f"{limits[-1]:g} and over"


def chooser_of(
    where: Mapping[str, tuple[str, ...]], where_not: Mapping[str, tuple[str, ...]]
) -> Callable[[Cells], bool]:
    """Whether a row is taken: by its values in some columns, as text and in whatever letter case."""
    taken = {column: {value.strip().casefold() for value in values} for column, values in where.items()}
    refused = {column: {value.strip().casefold() for value in values} for column, values in where_not.items()}

    def value(row: Cells, column: str) -> str:
        return (text_of(row.get(column), column) or "").casefold()

    def take(row: Cells) -> bool:
        return all(value(row, column) in values for column, values in taken.items()) and not any(
            value(row, column) in values for column, values in refused.items()
        )

    return take
