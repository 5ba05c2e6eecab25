"""Reports as models write them: any text that is not empty."""

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """The text; None for an empty one."""
    return text.strip() or None


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The same as read strictly: a report has no form that could be missed."""
    return read_strict(expected, text)


def reference(row: Row) -> Value:
    """The report."""
    return row.answer.strip()
