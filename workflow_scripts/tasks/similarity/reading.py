"""Similarities as models write them: a number, alone or in a sentence, or of a scale (`4/5`, `4 out of 5`)."""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.regression import reading as numbers

_OF_SCALE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*(?:/|out of|of)\s*[0-9]{1,3}\b", re.IGNORECASE)


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """A number and nothing else."""
    return None if "%" in text else numbers.read_strict(expected, text)


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The number that a text states; of `4 out of 5` the first."""
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    stated = _OF_SCALE.findall(text)
    if len(set(stated)) == 1:
        return float(stated[0])
    return numbers.read_lenient(expected, text)


def reference(row: Row) -> Value:
    """The similarity.

    Raises:
        BadFile: the row has none.
    """
    if row.number is None:
        raise BadFile(f"row {row.uid}: a {row.task} row needs its 'number'; convert the data again")
    return row.number
