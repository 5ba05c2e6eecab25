"""The value of a group that a row bears."""

from workflow_scripts.core.groups.rows import NOT_STATED
from workflow_scripts.core.rows import Row


def group_value(row: Row, name: str) -> str:
    """What the row's source says of the group `name`; `NOT_STATED` where it says nothing."""
    return next((group.value for group in row.groups if group.name == name), NOT_STATED)
