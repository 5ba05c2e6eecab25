"""Which answered rows stand before a question: one fixed set of them for each task, subset or wording.

A candidate's place follows from the seed and its own uid, so that a new row moves no other: it takes a place among
them, or none. What has a case or an image in common with a scored row is no candidate, whatever split it lies in.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.section import Section
from workflow_scripts.core.config.systems.model import Shots
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.tasks.boxes.model_answers import native_row
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes

Key = tuple[str, ...]
"""What has one set of shots: a task; with its subset; or with the wording of the question, too."""


class ShownShots(Section):
    """The shots of a system on one split, as a step is told of them."""

    rows: Path  # Parquet of what `draw` gave
    root: Path  # folder that their image paths start from
    features: Path | None = None  # index of their vision features; None: computed in the job, or none are read
    shots: Shots


def set_of(row: Row, shots: Shots) -> Key:
    """What a row shares its shots with."""
    if shots.by == "task":
        return (row.task,)
    if shots.by == "subset":
        return (row.task, row.subset)
    return (row.task, row.subset, " ".join(re.sub(r"\d+", "0", row.question).casefold().split()))


def draw(training: Iterable[Row], scored: Sequence[Row], shots: Shots) -> list[Row]:
    """The shots of `scored` rows: set by set in the order of these rows, each set in the order of the prompt.

    Raises:
        Refused: a set has fewer candidates than shots.
    """
    wanted: dict[Key, list[Row]] = {set_of(row, shots): [] for row in scored}
    cases = {row.case_id for row in scored}
    images = {image.sha256 for row in scored for image in row.images}
    for row in training:
        candidates = wanted.get(set_of(row, shots))
        if candidates is None or not row.has_answer or row.case_id in cases:
            continue
        if images.isdisjoint(image.sha256 for image in row.images):
            candidates.append(row)
    return [row for key, candidates in wanted.items() for row in _drawn(key, candidates, shots)]


def sets_of(rows: Iterable[Row], shots: Shots) -> dict[Key, list[Row]]:
    """What `draw` gave, by what shares it."""
    sets: dict[Key, list[Row]] = {}
    for row in rows:
        sets.setdefault(set_of(row, shots), []).append(row)
    return sets


class ShotSets:
    """The shots of a system on one split, as its model is shown them.

    Args:
        shown: where they are.
        root: folder that paths of the scored rows' images start from; those of shots are then given from there too.
        boxes: the model's own form of boxes, in which shots are answered too; None: the dataset's.
    """

    def __init__(self, shown: ShownShots, root: Path, boxes: ModelBoxes | None = None) -> None:
        self._shots = shown.shots
        way = os.path.relpath(os.path.realpath(shown.root), os.path.realpath(root))
        rows = [native_row(row, boxes) for row in read_rows(shown.rows, Row)]
        self._sets = sets_of((_with_images(row, way if shown.shots.images else None) for row in rows), shown.shots)

    def __iter__(self) -> Iterator[Row]:
        return (row for rows in self._sets.values() for row in rows)

    def of(self, row: Row) -> list[Row]:
        """The shots that stand before the question of a row.

        Raises:
            Refused: there are others than the system is to show.
        """
        rows = self._sets.get(set_of(row, self._shots), [])
        if len(rows) != self._shots.count:
            raise Refused(f"row {row.uid} has {len(rows)} shots, expected {self._shots.count}; draw them again")
        return rows


def _with_images(row: Row, way: str | None) -> Row:
    """A row whose images are found by going `way` first; without images where there is none."""
    if way is None:
        return replace(row, images=())
    return replace(row, images=tuple(image._replace(path=f"{way}/{image.path}") for image in row.images))


def _drawn(key: Key, candidates: Sequence[Row], shots: Shots) -> list[Row]:
    if len(candidates) < shots.count:
        wider = {"question": "by: subset, by: task", "subset": "by: task", "task": "a wider split"}[shots.by]
        raise Refused(
            f"{' · '.join(key)[:200]}: {len(candidates)} answered rows of {shots.source!r} share no case or image with "
            f"the scored split, and {shots.count} shots are wanted: set a smaller `shots.count`, or {wider}"
        )
    place = {row.uid: hashlib.sha256(repr((shots.seed, row.uid)).encode()).digest() for row in candidates}
    ordered = sorted(candidates, key=lambda row: place[row.uid])
    if not shots.balance:
        return ordered[: shots.count]
    classes: dict[tuple[str, ...] | None, list[Row]] = {}
    for row in ordered:
        classes.setdefault(row.labels, []).append(row)
    turns = ((turn, place[row.uid], row) for rows in classes.values() for turn, row in enumerate(rows))
    taken = sorted(turns, key=lambda entry: entry[:2])[: shots.count]
    return [row for _, _, row in sorted(taken, key=lambda entry: entry[1])]
