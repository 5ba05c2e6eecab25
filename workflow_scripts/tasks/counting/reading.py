"""Counts as models write them."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.language.numbers import stated_number
from workflow_scripts.tasks.language.text import LONGEST

_COUNT = re.compile(r"[0-9]{1,9}", re.ASCII)


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """At most nine digits and nothing else."""
    text = text.strip()
    return float(text) if _COUNT.fullmatch(text) else None


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The number that a text states."""
    exact = read_strict(expected, text)
    return stated_number(text[:LONGEST].strip(), whole=True) if exact is None else exact


def reference(row: Row) -> Value:
    """The count.

    Raises:
        BadFile: the row has none.
    """
    if row.number is None:
        raise BadFile(f"row {row.uid}: a {row.task} row needs its 'number'; convert the data again")
    return row.number
