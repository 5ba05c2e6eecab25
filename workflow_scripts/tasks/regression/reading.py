"""Measured values as models write them."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.language.numbers import stated_number
from workflow_scripts.tasks.language.text import LARGEST, LONGEST

_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,9}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})(?:[eE][+-]?[0-9]{1,2})?\s?%?", re.ASCII)


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """A number with or without a percent sign, and nothing else."""
    text = text.strip()
    if len(text) > LONGEST or not _NUMBER.fullmatch(text):
        return None
    value = float(text.rstrip("% "))
    return value if abs(value) < LARGEST else None


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The number that a text states."""
    exact = read_strict(expected, text)
    return stated_number(text[:LONGEST].strip(), percent=expected.percent) if exact is None else exact


def reference(row: Row) -> Value:
    """The value.

    Raises:
        BadFile: the row has none.
    """
    if row.number is None:
        raise BadFile(f"row {row.uid}: a {row.task} row needs its 'number'; convert the data again")
    return row.number
