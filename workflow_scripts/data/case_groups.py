"""Groups of rows that must stay on one side: all that hang together by an image or a case."""

import hashlib
from collections.abc import Hashable, Iterable, Sequence


class Components:
    """Connected components of things that are joined pairwise (union–find with path halving)."""

    def __init__(self) -> None:
        self._parent: dict[Hashable, Hashable] = {}

    def find(self, item: Hashable) -> Hashable:
        """The component's representative; a new item is its own."""
        parent = self._parent
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    def join(self, items: Iterable[Hashable]) -> None:
        """Put `items` into one component."""
        first = None
        for item in items:
            root = self.find(item)
            if first is None:
                first = root
            else:
                self._parent[root] = first


def ties(row: dict) -> list[tuple[str, str]]:
    """What ties a row to others: its case and its images' hashes."""
    return [("case", row["case_id"]), *(("image", image["sha256"]) for image in row["images"])]


def group_rows(rows: Sequence[dict]) -> list[list[dict]]:
    """`rows` by connected components of image hash and case, in order of their first row."""
    components = Components()
    for row in rows:
        components.join(ties(row))
    groups: dict[Hashable, list[dict]] = {}
    for row in rows:
        groups.setdefault(components.find(("case", row["case_id"])), []).append(row)
    return list(groups.values())


def positions(groups: Sequence[list[dict]], seed: int) -> list[float]:
    """A place in (0, 1) for each group, so that any range of places holds that share of every stratum's rows.

    A stratum is the data sets and tasks that a group holds. In a stratum the groups stand in an order that a hash
    of the seed and of the group's first case decides; a group's place is the middle of its rows. Nothing but the
    rows and the seed decides: equal seeds and disjoint ranges give disjoint parts.
    """
    strata: dict[tuple, list[int]] = {}
    for index, group in enumerate(groups):
        key = tuple(sorted({(row["dataset"], row["task"]) for row in group}))
        strata.setdefault(key, []).append(index)
    places = [0.0] * len(groups)
    for members in strata.values():
        members.sort(key=lambda index: _draw(groups[index], seed))
        total, before = sum(len(groups[index]) for index in members), 0
        for index in members:
            places[index] = (before + len(groups[index]) / 2) / total
            before += len(groups[index])
    return places


def _draw(group: list[dict], seed: int) -> tuple[bytes, str]:
    name = min(row["case_id"] for row in group)
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest(), name
