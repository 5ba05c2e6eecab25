"""Step of a container: give rows the expected format that the workflow knows from rows with answers.

A challenge's inputs have no answers, from which a conversion learns whether a subset answers with letters or words, how
it separates labels, and so on. The container carries what was learned, and no row that it was learned from.
"""

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

from workflow_scripts.core.answers import AnswersPart, Conventions
from workflow_scripts.core.command import run_step
from workflow_scripts.core.rows import Convention, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part


def write_formats(*, rows: Path, conventions: Path, out: Path) -> str:
    """Write the rows with the expected formats that follow from the conventions; those of other subsets stay.

    Args:
        rows: Parquet of converted rows
        conventions: Parquet of how each subset writes its answers
        out: Parquet of rows to write
    """
    entries: dict[tuple[str, str], list[tuple[Convention, object]]] = defaultdict(list)
    for entry in read_rows(conventions, Convention):
        entries[entry.subset, entry.task].append((entry, json.loads(entry.value)))
    known = {key: Conventions(listed) for key, listed in entries.items()}
    result = [
        _with_format(row, known[key]) if (key := (row.subset, row.task)) in known else row
        for row in read_rows(rows, Row)
    ]
    write_rows(out, result, Row)
    learned = {task for _, task in known}  # of the others there is nothing to know: any count, any report
    strange = sorted({row.subset for row in result if row.task in learned and (row.subset, row.task) not in known})
    remark = f"; nothing is known of how {', '.join(strange)} writes answers" if strange else ""
    return f"formats: {len(result)} rows{remark}"


def _with_format(row: Row, conventions: Conventions) -> Row:
    """The row with the format that the conventions of its subset and task say."""
    part: AnswersPart = load_part(row.task, "answers")
    expected = part.expected_format(row.question, conventions)
    if expected.box_convention is not None:
        expected = expected._replace(width=row.images[0].width, height=row.images[0].height)
    return replace(row, expected=expected)


if __name__ == "__main__":
    run_step(write_formats)
