"""The expected format of an answer that is boxes."""

from typing import cast

from workflow_scripts.core.answers import Conventions
from workflow_scripts.core.rows import ExpectedFormat, FormatSource
from workflow_scripts.tasks.boxes.conventions import BoxConvention
from workflow_scripts.tasks.questions import convention_in


def expected_boxes(question: str, conventions: Conventions, usual: str) -> ExpectedFormat:
    """Boxes in the convention of the configuration, else of the question, else of the subset, else the usual one."""
    known = conventions.get("box_convention")
    named = convention_in(question)
    if known is not None and (known.source == "configuration" or named is None):
        value, source = str(known.value), known.source
    elif named is not None:
        value, source = named, "question"
    else:
        value, source = usual, "task default"
    return ExpectedFormat(box_convention=value, sources=(FormatSource("box_convention", source),))


def convention_of(expected: ExpectedFormat) -> BoxConvention:
    """The box convention of a format; corners where it names none."""
    return cast(BoxConvention, expected.box_convention or "xyxy")
