"""Rows that share an image or a case with a later split folder, images that look alike across folders, and groups."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from workflow_scripts.core.rows import ImageFacts, Row
from workflow_scripts.data.auditing.near_duplicates import Look, near_duplicates
from workflow_scripts.data.case_groups import Pixels, Tie, components, pixels_of, ties

ORDER = ("training", "validation-public", "validation-hidden", "testing")
"""A leak is reported of the earlier folder's row: that is the one to leave out."""


class SharedRow(NamedTuple):
    """A row that shares an image or a case with a later split folder."""

    row: Row
    tie: str  # image or case
    other: str  # uid of a row of the latest such folder


class LookAlike(NamedTuple):
    """A row with an image that looks like one of a later split folder and is not the same."""

    row: Row
    path: str
    other: Row
    other_path: str
    bits: int  # of 256 that differ


class LeakGroup(NamedTuple):
    """Rows of several split folders that hang together by images or cases that folders share."""

    rows: tuple[Row, ...]  # in the order of folders
    images: tuple[tuple[str, ...], ...]  # the paths of each shared image, one a folder
    cases: tuple[str, ...]  # those shared


@dataclass(frozen=True)
class Leaks:
    """What ties the split folders of a dataset to each other."""

    shared: list[SharedRow]
    alike: list[LookAlike]
    groups: list[LeakGroup]  # the one with most rows first


def leaks_of(rows: Sequence[Row], images: Sequence[ImageFacts]) -> Leaks:
    """Leaks among the rows with an answer: the others are neither trained on nor scored.

    Args:
        rows: of all split folders.
        images: what is known of each image of the rows.
    """
    answered = [row for row in rows if row.has_answer]
    if len({row.folder for row in answered}) < 2:
        return Leaks([], [], [])
    pixels = pixels_of(images)
    tied = [(row, ORDER.index(row.folder), ties(row, pixels)) for row in answered]
    folders: dict[Tie, int] = {}  # a bit a folder
    for _, order, listed in tied:
        for tie in listed:
            folders[tie] = folders.get(tie, 0) | 1 << order
    spread = {tie for tie, bits in folders.items() if bits & (bits - 1)}
    tied = [entry for entry in tied if not spread.isdisjoint(entry[2])]
    shared = _shared(tied, spread)
    leaking = {entry.row.uid for entry in shared}
    alike = _alike([row for row in answered if row.uid not in leaking], images, pixels)
    return Leaks(shared, alike, _groups(tied, spread, pixels))


def _shared(tied: Sequence[tuple[Row, int, list[Tie]]], spread: set[Tie]) -> list[SharedRow]:
    last: dict[Tie, tuple[int, str]] = {}
    for row, order, listed in tied:
        for tie in listed:
            last[tie] = max(last.get(tie, (-1, "")), (order, row.uid))
    shared = []
    for row, order, listed in tied:
        later = [tie for tie in listed if tie in spread and last[tie][0] > order]
        if later:
            tie = max(later)  # the image before the case
            shared.append(SharedRow(row, tie[0], last[tie][1]))
    return shared


def _groups(tied: Sequence[tuple[Row, int, list[Tie]]], spread: set[Tie], pixels: Pixels) -> list[LeakGroup]:
    members = [row for row, _, _ in sorted(tied, key=lambda entry: (entry[1], entry[0].uid))]
    component = components(members, pixels)
    rows: dict[int, list[Row]] = {}
    for row in members:
        rows.setdefault(component["case", row.case_id], []).append(row)
    paths: dict[Tie, dict[str, str]] = {}  # of a shared image, by folder
    for row in members:
        for image in row.images:
            tie = ("image", pixels.get(image.sha256, image.sha256))
            if tie in spread:
                paths.setdefault(tie, {}).setdefault(row.folder, image.path)
    images: dict[int, list[tuple[str, ...]]] = {}
    for tie, by_folder in paths.items():
        images.setdefault(component[tie], []).append(tuple(by_folder.values()))
    cases: dict[int, list[str]] = {}
    for tie in sorted(spread):
        if tie[0] == "case":
            cases.setdefault(component[tie], []).append(tie[1])
    groups = [
        LeakGroup(tuple(listed), tuple(images.get(number, ())), tuple(cases.get(number, ())))
        for number, listed in rows.items()
    ]
    return sorted(groups, key=lambda group: (-len(group.rows), group.rows[0].uid))


def _alike(rows: Sequence[Row], images: Sequence[ImageFacts], pixels: Pixels) -> list[LookAlike]:
    by_path = {image.path: image for image in images}
    first: dict[str, tuple[int, Row, ImageFacts]] = {}  # by pixels: an image's latest folder, and a row there
    for row in rows:
        order = ORDER.index(row.folder)
        for image in row.images:
            facts = None if image.is_slice else by_path.get(image.path)  # one body's slices look like another's
            if facts is not None and order > first.get(facts.pixel_sha256, (-1,))[0]:
                first[facts.pixel_sha256] = (order, row, facts)
    looks = [Look(facts.dhash, facts.dhash_fine, order) for order, _, facts in first.values() if facts.dhash]
    shown = [(row, facts) for _, row, facts in first.values() if facts.dhash]
    nearest = {shown[pair.one][1].pixel_sha256: pair for pair in near_duplicates(looks)}
    alike = []
    for row in rows if nearest else ():
        for image in row.images:
            pair = nearest.get(pixels.get(image.sha256, image.sha256))
            if pair is not None:
                other, facts = shown[pair.other]
                alike.append(LookAlike(row, image.path, other, facts.path, pair.bits))
                break
    return alike
