"""Findings that a table labels one by one, as one question a row or a study: which of the conditions are present?"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from workflow_scripts.core.config.sources.table import TableLabels
from workflow_scripts.data.sources.cells import BadCell, text_of
from workflow_scripts.data.sources.record import SourceRecord
from workflow_scripts.data.sources.table_files import Cells

POSITIVE, NEGATIVE, UNCERTAIN = 1.0, 0.0, -1.0
"""Labels as CheXpert and MIMIC-CXR write them; their blanks say that nothing is mentioned."""

WORDS = {
    **dict.fromkeys(("yes", "true", "positive", "present"), POSITIVE),
    **dict.fromkeys(("no", "false", "negative", "absent"), NEGATIVE),
    **dict.fromkeys(("hedge", "uncertain"), UNCERTAIN),
}
"""Labels in words, in lower case."""

NOTHING = "None"
"""The answer where no condition is present."""

SHOWN = 20
"""Rows of a study whose places are named."""


def label_question(labels: TableLabels) -> str:
    """The question, with the conditions listed."""
    return labels.question.replace("{labels}", "; ".join(labels.conditions))


def label_answer(labels: TableLabels, cells: Cells) -> str:
    """The conditions that are present, in the entry's order.

    Raises:
        BadCell: a label is none, or is uncertain and such rows are left out, or the row has no labels at all.
    """
    if labels.listed_in is not None:
        listed = text_of(cells.get(labels.listed_in), labels.listed_in)
        if listed is None:
            raise BadCell("no_answer", f"{labels.listed_in} is empty")
        words = {word.strip().casefold() for word in listed.split(labels.separator)}
        present = [name for name, word in labels.conditions.items() if word.casefold() in words]
        return "; ".join(present) or NOTHING
    if not any(column in cells for column in labels.conditions.values()):
        raise BadCell("no_answer", "no table that is joined has labels of the row")
    present = [name for name, column in labels.conditions.items() if _present(labels, name, cells.get(column))]
    return "; ".join(present) or NOTHING


def _present(labels: TableLabels, name: str, cell: object) -> bool:
    text = text_of(cell, name)
    if text is None:
        if labels.blank == "leave_out":
            raise BadCell("no_answer", f"{name} is blank, and `labels.blank` leaves such rows out")
        return False
    try:
        value = WORDS[text.casefold()] if text.casefold() in WORDS else float(text)
    except ValueError:
        value = float("nan")
    if value not in (POSITIVE, NEGATIVE, UNCERTAIN):
        raise BadCell("wrong_answer_type", f"{name} is {text[:80]!r}; expected 1, 0, -1 or a blank")
    if value == UNCERTAIN and labels.uncertain == "leave_out":
        raise BadCell("no_answer", f"{name} is uncertain, and `labels.uncertain` leaves such rows out")
    return value == POSITIVE or (value == UNCERTAIN and labels.uncertain == "positive")


def studies_of(records: Iterable[tuple[str, SourceRecord]]) -> Iterator[SourceRecord]:
    """A record a study with the images of all of its rows, in the order of their first; a faulty row stands alone.

    Rows of one study must agree in split folder, case and labels: a study whose rows do not is faulty.

    Args:
        records: of rows, each with its study.
    """
    studies: dict[tuple[str, str], list[SourceRecord]] = {}
    for study, record in records:
        key = (record.place, "") if record.fault is not None else (study, record.subset)
        studies.setdefault(key, []).append(record)
    for rows in studies.values():
        yield rows[0] if len(rows) == 1 else _study(rows)


def _study(rows: list[SourceRecord]) -> SourceRecord:
    first = rows[0]
    places = ", ".join([first.place, *(row.place.rpartition("row ")[2] for row in rows[1:SHOWN])])
    images = tuple({image.name: image for row in rows for image in row.images}.values())
    groups = {name: value for name, value in first.groups.items() if all(row.groups.get(name) == value for row in rows)}
    study = replace(first, place=places, images=images, groups=groups)
    differing = [
        name for name in ("folder", "case", "answer") if any(getattr(row, name) != getattr(first, name) for row in rows)
    ]
    if differing:
        detail = f"the rows of the study differ in {', '.join(differing)}"
        return replace(study, fault=("contradiction", detail))
    return study
