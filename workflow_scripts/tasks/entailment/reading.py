"""Classes of entailment as models write them: one of the words, alone or in prose."""

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.classification import reading as classes


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """One of the words and nothing else; case and white space at the ends are free."""
    return classes.read_strict(expected, text)


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The word that a text chooses; None where it chooses none or more than one."""
    return classes.read_lenient(expected, text)


def reference(row: Row) -> Value:
    """The word."""
    return row.answer.strip()
