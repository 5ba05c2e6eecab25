"""Groups of rows that must stay on one side: all that hang together by an image or a case.

An image is its pixels: files that differ in their format or their metadata alone are one.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from workflow_scripts.core.rows import ImageFacts, Row

Tie = tuple[str, str]
"""What rows may have in common: `("case", case_id)` or `("image", hash)`."""

Pixels = Mapping[str, str]
"""Hash of an image's pixels by the hash of its file; a file without one stands for itself."""

FLAT = "flat "
"""Before the hash of an image on which nothing is to be seen."""


def pixels_of(images: Iterable[ImageFacts]) -> Pixels:
    """The hashes of pixels, out of what conversion wrote of each image."""
    return {image.sha256: image.pixel_sha256 if image.dhash else FLAT + image.pixel_sha256 for image in images}


def ties(row: Row, pixels: Pixels) -> list[Tie]:
    """What ties a row to others: its case and its images.

    Slices on which nothing is to be seen tie nothing: volumes of many patients begin or end in black.
    """
    tied = [("case", row.case_id)]
    for image in row.images:
        content = pixels.get(image.sha256, image.sha256)
        if not (content.startswith(FLAT) and image.is_slice):
            tied.append(("image", content))
    return tied


def components(rows: Sequence[Row], pixels: Pixels) -> dict[Tie, int]:
    """A number of the connected component that each tie of `rows` lies in; a row connects all of its ties."""
    numbers: dict[Tie, int] = {}
    parents: list[int] = []  # by number: itself, or a smaller number of the same component

    def root(number: int) -> int:
        while parents[number] != number:
            parents[number] = number = parents[parents[number]]
        return number

    for row in rows:
        first, *others = [numbers.setdefault(tie, len(numbers)) for tie in ties(row, pixels)]
        parents += range(len(parents), len(numbers))
        for other in others:
            one, two = root(first), root(other)
            parents[max(one, two)] = min(one, two)
    return {tie: root(number) for tie, number in numbers.items()}


def group_rows(rows: Sequence[Row], pixels: Pixels) -> list[list[Row]]:
    """`rows` by connected components of image and case, in order of their first row."""
    component = components(rows, pixels)
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(component["case", row.case_id], []).append(row)
    return list(groups.values())


def positions(groups: Sequence[Sequence[Row]], seed: int) -> list[float]:
    """A place in (0, 1) for each group, so that any range of places holds that share of every stratum's rows.

    A stratum is the subsets and tasks that a group holds. In a stratum the groups stand in an order that a hash of the
    seed and of the group's first case decides; a group's place is the middle of its rows. Nothing but the rows and the
    seed decides: equal seeds and disjoint ranges give disjoint parts.
    """
    strata: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for index, group in enumerate(groups):
        key = tuple(sorted({(row.subset, row.task) for row in group}))
        strata.setdefault(key, []).append(index)
    places = [0.0] * len(groups)
    for members in strata.values():
        members.sort(key=lambda index: _draw(groups[index], seed))
        total, before = sum(len(groups[index]) for index in members), 0
        for index in members:
            places[index] = (before + len(groups[index]) / 2) / total
            before += len(groups[index])
    return places


def _draw(group: Sequence[Row], seed: int) -> tuple[bytes, str]:
    name = min(row.case_id for row in group)
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest(), name
