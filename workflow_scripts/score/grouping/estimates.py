"""A system's primary metric by the values of a group: as it is, in resamples of cases, and with permuted labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.metrics import Facts, Metric
from workflow_scripts.score.grouping.cuts import Cut
from workflow_scripts.score.grouping.gaps import Estimates, permutations
from workflow_scripts.score.statistics import resampled, seed_for
from workflow_scripts.score.task_facts import TaskFacts

PERMUTATIONS_PER_RESAMPLE = 10
"""Permutations of labels for each resample of an interval: a p value needs more of them."""


@dataclass(frozen=True)
class Place:
    """A system's metric by value, on a subset or averaged over several: one column a value."""

    subset: str
    cuts: tuple[Cut, ...]  # of the subsets in which ranked values are compared
    every: tuple[Cut, ...]  # of all subsets, over those of which that hold it a value is averaged that is not ranked
    ranked: np.ndarray  # whether enough cases bear a value and the metric of it is defined: [values]
    estimates: Estimates  # of all values; permutations are of the ranked ones
    rest: Estimates  # of all other ranked values together, for each ranked one


@dataclass(frozen=True)
class Measured:
    """One system's primary metric, with the columns of facts that it reads."""

    system: str
    metric: Metric
    facts: Facts  # these columns alone
    every: Facts

    def value(self, sums: np.ndarray) -> np.ndarray:
        """The metric from packed sums [… × columns]."""
        with np.errstate(invalid="ignore", over="ignore"):
            flat = self.metric.value(self.facts.unpacked(sums.reshape(-1, sums.shape[-1])))
        return np.asarray(flat, dtype=float).reshape(sums.shape[:-1])


class _Noted(dict[str, np.ndarray]):
    """Sums that note which of them are read."""

    def __init__(self, sums: dict[str, np.ndarray]) -> None:
        super().__init__(sums)
        self.names: set[str] = set()

    def __getitem__(self, name: str) -> np.ndarray:
        self.names.add(name)
        return super().__getitem__(name)


def measured(system: str, facts: Facts) -> Measured | None:
    """A system's primary metric on a task; None where it has none."""
    metric = next((metric for metric in facts.metrics if metric.primary), None)
    if metric is None:
        return None
    noted = _Noted(facts.unpacked(facts.packed().sum(axis=0)))
    metric.value(noted)
    names = [name for name in facts.columns if name in noted.names | {metric.rows, metric.valid}]
    return Measured(system, metric, Facts({name: facts.columns[name] for name in names}, [metric]), facts)


def estimates_of(
    task: TaskFacts, systems: Sequence[Measured], cut: Cut, subset: str, group: str, scoring: Scoring
) -> dict[str, Place]:
    """The metric of each system by value on one subset, resampled by case and with permuted labels.

    A value of which a system's metric is undefined is not ranked for that system. Resamples are those of the metrics.
    Labels are permuted over the cases that bear one ranked value, and within each case that bears several.
    """
    packed = {one.system: one.facts.packed()[cut.rows] for one in systems}
    sums = {system: cut.sums(columns) for system, columns in packed.items()}
    ranked = {one.system: cut.ranked & np.isfinite(one.value(sums[one.system].sum(axis=0))) for one in systems}
    seed = seed_for(scoring.seed, "groups", task.task, subset, group)
    permuted: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for mask in {mask.tobytes(): mask for mask in ranked.values()}.values():
        alike = [one for one in systems if (ranked[one.system] == mask).all()]
        permuted |= _permuted(alike, sums, replace(cut, ranked=mask), scoring, seed)
    result = {}
    for one in systems:
        by_case = sums[one.system]
        drawn = resampled(
            by_case.reshape(len(by_case), -1), scoring.resamples, seed_for(scoring.seed, task.task, subset)
        ).reshape(scoring.resamples, *by_case.shape[1:])
        point = by_case.sum(axis=0)
        places = np.flatnonzero(ranked[one.system])
        own, others = permuted[one.system]
        every = np.full((len(own), len(cut.ranked)), np.nan)
        every[:, places] = own
        result[one.system] = Place(
            subset,
            (cut,),
            (cut,),
            ranked[one.system],
            Estimates(one.value(point), one.value(drawn), every),
            Estimates(
                one.value(point[places].sum(axis=0) - point[places]),
                one.value(drawn[:, places].sum(axis=1, keepdims=True) - drawn[:, places]),
                others,
            ),
        )
    return result


def _permuted(
    systems: Sequence[Measured], sums: dict[str, np.ndarray], cut: Cut, scoring: Scoring, seed: int
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Each system's metric of the ranked values and of all others together, after each permutation of labels."""
    places = np.flatnonzero(cut.ranked)
    bears = np.zeros((cut.case_count, len(cut.ranked)), dtype=bool)
    bears[cut.cases, cut.values] = True
    cases, labels = np.nonzero(bears[:, places])
    several = bears[:, places].sum(axis=1)[cases] > 1
    # All cases of one value are one stratum, each case of several is another.
    strata = np.where(several, cases + 1, 0)
    columns = np.concatenate([sums[one.system][cases, places[labels]] for one in systems], axis=1)
    widths = np.cumsum([sums[one.system].shape[2] for one in systems])[:-1]
    blocks: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {one.system: [] for one in systems}
    times = PERMUTATIONS_PER_RESAMPLE * scoring.resamples if len(places) > 1 else 0
    for block in permutations(labels, strata, times, seed, len(places) * columns.shape[1]):
        of_value = np.stack([(block == place).astype(float) @ columns for place in range(len(places))], axis=1)
        for one, part in zip(systems, np.split(of_value, widths, axis=2), strict=True):
            whole = part.sum(axis=1, keepdims=True)
            blocks[one.system].append((one.value(part), one.value(whole - part)))
    none = np.zeros((0, len(places)))
    return {
        system: tuple(np.concatenate(parts) for parts in zip(*listed, strict=True)) if listed else (none, none)  # type: ignore[misc]
        for system, listed in blocks.items()
    }


def averaged(places: Sequence[Place]) -> Place | None:
    """The mean over the subsets in which every value is ranked that is ranked in any; None where there are none.

    A value that is ranked in none is averaged over the subsets that hold it.
    """
    ranked = np.any([place.ranked for place in places], axis=0)
    common = [place for place in places if (place.ranked == ranked).all()]
    if not common:
        return None

    def mean(of: Callable[[Place], Estimates]) -> Estimates:
        parts = [of(place) for place in common]
        return Estimates(
            np.mean([part.point for part in parts], axis=0),
            np.mean([part.draws for part in parts], axis=0),
            np.mean([part.permuted for part in parts], axis=0),
        )

    estimates = mean(lambda place: place.estimates)
    for code in np.flatnonzero(~ranked).tolist():
        holding = [place.estimates for place in places if any(cut.cases_of(code) for cut in place.cuts)]
        if holding:
            estimates.point[code] = np.mean([part.point[code] for part in holding])
            estimates.draws[:, code] = np.mean([part.draws[:, code] for part in holding], axis=0)
    cuts = tuple(cut for place in common for cut in place.cuts)
    every = tuple(cut for place in places for cut in place.cuts)
    return Place("macro", cuts, every, ranked, estimates, mean(lambda place: place.rest))
