"""Balanced epochs: how often each group of training rows is drawn, and a seeded order that a resumed run repeats."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch.utils.data import Sampler

from workflow_scripts.core.config.recipes import Sampling
from workflow_scripts.core.rows import Row
from workflow_scripts.train.rows import LikeLengths


@dataclass(frozen=True)
class Group:
    """Rows that share a part of every epoch."""

    name: tuple[str, ...]  # subset; task; or subset, task and class
    places: tuple[int, ...]  # of its rows among the training rows
    share: int  # rows of an epoch; beyond the number of its rows these are shown again


def groups_of(rows: Sequence[Row], sampling: Sampling) -> list[Group]:
    """The groups of the training rows, sorted by name, with what an epoch draws of each.

    An epoch has as many rows as there are, or as the cap leaves of each group. Groups share it by their rows to the
    power 1/temperature, or equally, largest remainders first, at least one row each. Classes share what their subset
    and task have together, so that a subset of many classes grows no larger.
    """
    places: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        places.setdefault(_name(row, sampling), []).append(place)
    outer: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for name in sorted(places):
        outer.setdefault(name[:2] if sampling.balance == "class" else (), []).append(name)
    groups = []
    for names in outer.values():
        counts = [min(len(places[name]), sampling.cap or len(places[name])) for name in names]
        for name, share in zip(names, shares(counts, sampling.temperature), strict=True):
            groups.append(Group(name, tuple(places[name]), share))
    return groups


def _name(row: Row, sampling: Sampling) -> tuple[str, ...]:
    if sampling.balance == "class":
        return (row.subset, row.task, "; ".join(row.labels or ()))
    return (row.subset if sampling.balance == "subset" else row.task,)


def shares(counts: Sequence[int], temperature: float | None) -> list[int]:
    """The sum of `counts`, shared out anew by each to the power 1/temperature, equally where that is None."""
    total = sum(counts)
    weights = [1.0 if temperature is None else count ** (1 / temperature) for count in counts]
    exact = [total * weight / sum(weights) for weight in weights]
    least = [max(1, int(share)) for share in exact]
    by_rest = sorted(range(len(counts)), key=lambda number: (int(exact[number]) - exact[number], number))
    for number in by_rest[: max(0, total - sum(least))]:
        least[number] += 1
    return least


class Balanced(Sampler):
    """Each epoch's rows of each group, in batches of like length, by seed and epoch alone.

    Rows of a group are all drawn before any is drawn again; those of a part of a pass change from epoch to epoch.
    """

    def __init__(self, groups: Sequence[Group], lengths: Sequence[int], batch: int, seed: int) -> None:
        self._groups, self._lengths, self._batch, self._seed, self._epoch = groups, lengths, batch, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the rows and the order of `epoch`; the trainer calls this."""
        self._epoch = epoch

    def __len__(self) -> int:
        return sum(group.share for group in self._groups)

    def places(self) -> list[int]:
        """The rows of the epoch, group by group."""
        listed: list[int] = []
        for group in self._groups:
            digest = hashlib.sha256(repr((self._seed, self._epoch, group.name)).encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
            passes, rest = divmod(group.share, len(group.places))
            part = torch.randperm(len(group.places), generator=generator)[:rest].tolist()
            listed += [*(group.places * passes), *(group.places[number] for number in part)]
        return listed

    def __iter__(self) -> Iterator[int]:
        places = self.places()
        order = LikeLengths([self._lengths[place] for place in places], self._batch, self._seed)
        order.set_epoch(self._epoch)
        return (places[number] for number in order)


def summary(groups: Sequence[Group], most: int = 20) -> str:
    """What an epoch draws, in words; the groups that change most, where there are many."""
    first = sorted(groups, key=lambda group: -abs(group.share - len(group.places)))[:most]
    listed = "; ".join(f"{' / '.join(group.name)}: {group.share} of {len(group.places)}" for group in first)
    left = f"; and {len(groups) - most} more" if len(groups) > most else ""
    rows, share = sum(len(group.places) for group in groups), sum(group.share for group in groups)
    return f"an epoch draws {share} rows from {rows}, in {len(groups)} groups: {listed}{left}"
