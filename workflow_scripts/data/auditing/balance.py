"""Rows by label of each subset and task, the split folders beside each other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workflow_scripts.core.rows import LabelCount, Row, SubsetSummary
from workflow_scripts.data.auditing.leaks import ORDER

VARIES = "another text in each question"
"""The meaning of a letter whose option is not the same in all questions."""

Place = tuple[str, str]
"""A subset and a task."""


@dataclass(frozen=True)
class ClassShare:
    """Rows of one split folder that bear a label."""

    rows: int
    share: float  # of the folder's rows


@dataclass(frozen=True)
class ClassLine:
    """A label in each split folder."""

    label: str  # empty: rows whose label set is empty
    meaning: str  # the option that a letter stands for
    shares: tuple[ClassShare, ...]  # in the order of the folders
    untrained: bool  # a later folder has the label and training, where there is any, has not


@dataclass(frozen=True)
class Balance:
    """The labels of one task of one subset."""

    subset: str
    task: str
    folders: tuple[str, ...]  # in their order
    rows: tuple[int, ...]  # by folder
    lines: tuple[ClassLine, ...]  # most rows of the first folder first
    greatest: float  # share
    difference: float | None  # the greatest between shares of the first two folders; None where there is one


def balances(counts: Sequence[LabelCount], summary: Sequence[SubsetSummary], rows: Sequence[Row]) -> list[Balance]:
    """The labels of each subset and task that has any, by name.

    Args:
        counts: rows by label.
        summary: sizes of each subset, folder and task.
        rows: tell what letters stand for.
    """
    sizes = {(entry.subset, entry.task, entry.folder): entry.rows for entry in summary}
    meanings = option_texts(rows)
    by_place: dict[Place, dict[str, dict[str, int]]] = {}
    for count in counts:
        by_label = by_place.setdefault((count.subset, count.task), {})
        by_label.setdefault(count.label, {})[count.folder] = count.rows
    listed = []
    for place, by_label in sorted(by_place.items()):
        folders = tuple(folder for folder in ORDER if (*place, folder) in sizes)
        of_folders = tuple(sizes[*place, folder] for folder in folders)
        lines = []
        for label, by_folder in by_label.items():
            shares = tuple(
                ClassShare(by_folder.get(folder, 0), by_folder.get(folder, 0) / size)
                for folder, size in zip(folders, of_folders, strict=True)
            )
            untrained = folders[0] == ORDER[0] and not shares[0].rows
            lines.append(ClassLine(label, meanings.get(place, {}).get(label, ""), shares, untrained))
        lines.sort(key=lambda line: ([-share.rows for share in line.shares], line.label))
        listed.append(
            Balance(
                *place,
                folders,
                of_folders,
                tuple(lines),
                max(share.share for line in lines for share in line.shares),
                max(abs(line.shares[0].share - line.shares[1].share) for line in lines) if len(folders) > 1 else None,
            )
        )
    return listed


def option_texts(rows: Sequence[Row]) -> Mapping[Place, Mapping[str, str]]:
    """What each letter stands for where options are answered by letter; `VARIES` where questions differ."""
    texts: dict[Place, dict[str, str]] = {}
    seen: set[tuple[str, str, str]] = set()
    for row in rows:
        if row.expected.answer_by != "letter" or (question := (row.subset, row.task, row.question)) in seen:
            continue
        seen.add(question)
        by_letter = texts.setdefault((row.subset, row.task), {})
        for option in row.expected.options:
            if by_letter.setdefault(option.letter, option.text) != option.text:
                by_letter[option.letter] = VARIES
    return texts
