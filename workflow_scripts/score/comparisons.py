"""Compare systems in pairs on every primary metric: paired difference, interval, p value, Holm's correction.

`python -m workflow_scripts.score.comparisons --outcomes A.parquet B.parquet … [--report-scores R.parquet …]
[--rule-based-judges NAME …] [--baselines NAME …] --scoring JSON --out C.parquet --agreement G.parquet`
"""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.metrics import Facts, Metric
from workflow_scripts.core.rows import Agreement, Comparison, Outcome
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.score.metrics import read_report_scores
from workflow_scripts.score.statistics import (
    exchanges_of,
    halves,
    holm,
    influences_of,
    interval,
    paired_p,
    seed_for,
    sum_of,
    sums_by_cluster,
)
from workflow_scripts.score.task_facts import Part, TaskFacts, facts_of_tasks, parts_of, subsets_of
from workflow_scripts.tasks.judged.scores import ReportScores, ScoreKey
from workflow_scripts.tasks.report.metrics import EFFICACY_COUNTS

TESTS_PER_RESAMPLE = 10
"""Rearrangements of a randomisation test for each resample of an interval: a p value needs more of them."""


def pairs_to_compare(systems: Iterable[str], baselines: Collection[str]) -> list[tuple[str, str]]:
    """Every two systems, but not two baselines: no one asks which is better, and each test costs the others power.

    A baseline comes first, so that a difference says what the system adds to it.
    """
    return [
        (second, first) if second in baselines else (first, second)
        for first, second in combinations(systems, 2)
        if not (first in baselines and second in baselines)
    ]


def compare(
    task: TaskFacts, of_systems: Mapping[str, Mapping[str, Part]], first: str, second: str, scoring: Scoring
) -> list[Comparison]:
    """Two systems on a task's primary metric: each subset, macro and pooled. `p_holm` is open.

    The test exchanges the answers of whole cases at random, and turns the signs of their influences on the difference;
    the larger p counts (`statistics.paired_p`).

    Args:
        of_systems: sums by system and subset: see `task_facts.parts_of`.
    """
    one, two = task.systems[first], task.systems[second]
    metric = next((metric for metric in one.metrics if metric.primary), None)
    if metric is None or metric.key not in {other.key for other in two.metrics}:
        return []
    parts = of_systems[first], of_systems[second]
    own = subsets_of(metric, {subset: one.unpacked(part.point) for subset, part in parts[0].items()})

    def difference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return _value(two, metric, right) - _value(one, metric, left)

    nulls = _nulls(task, own, one, two, difference, scoring)
    points = {s: difference(parts[0][s].point, parts[1][s].point) for s in nulls}
    draws = {s: difference(parts[0][s].draws, parts[1][s].draws) for s in nulls}
    places = {
        s: Place(points[s], draws[s], points[s] + of_subset.exchanged, of_subset.turned)
        for s, of_subset in nulls.items()
    }
    places["macro"] = Place(
        _mean(points.values()),
        _mean(draws.values()),
        _mean(place.exchanged for place in places.values()),
        _mean(place.turned for place in places.values()),
    )
    pooled = difference(*(sum_of(of_system[subset].point for subset in own) for of_system in parts))
    places["pooled"] = Place(
        pooled,
        difference(*(sum_of(of_system[subset].draws for subset in own) for of_system in parts)),
        pooled + sum_of(of_subset.exchanged_pooled for of_subset in nulls.values()),
        sum_of(of_subset.turned_pooled for of_subset in nulls.values()),
    )
    return [_comparison(task, own, subset, metric, (first, second), place, scoring) for subset, place in places.items()]


@dataclass(frozen=True)
class Place:
    """The difference of two systems on a subset, macro or pooled."""

    point: np.ndarray
    draws: np.ndarray  # in each bootstrap resample
    exchanged: np.ndarray  # after each exchange of answers
    turned: np.ndarray  # sums of influences with random signs


def _mean(arrays: Iterable[np.ndarray]) -> np.ndarray:
    return np.asarray(np.mean(list(arrays), axis=0))


def _comparison(
    task: TaskFacts,
    own: list[str],
    subset: str,
    metric: Metric,
    systems: tuple[str, str],
    place: Place,
    scoring: Scoring,
) -> Comparison:
    """One row of the table."""
    point = float(place.point)
    here = task.subsets == subset if subset in task.subsets else np.isin(task.subsets, own)
    clusters = len(set(zip(task.subsets[here], task.cases[here], strict=True)))
    tested = clusters > 1 and all(bool(np.isfinite(each).all()) for each in (point, place.exchanged, place.turned))
    low, high = interval(point, place.draws, scoring.confidence) if clusters > 1 else (None, None)
    return Comparison(
        task=task.task,
        subset=subset,
        metric=metric.name,
        judge=metric.judge,
        direction=metric.direction,
        system_a=systems[0],
        system_b=systems[1],
        difference=point if np.isfinite(point) else None,
        low=low,
        high=high,
        p=paired_p(point, place.exchanged, place.turned) if tested else None,
        p_holm=None,
        rows=int(here.sum()),
        clusters=clusters,
    )


def _value(facts: Facts, metric: Metric, sums: np.ndarray) -> np.ndarray:
    """A metric from packed sums. Systems differ in the layout of their facts: each takes its own metric of that key."""
    own = next(other for other in facts.metrics if other.key == metric.key)
    with np.errstate(invalid="ignore", over="ignore"):
        return own.value(facts.unpacked(sums))


@dataclass(frozen=True)
class Nulls:
    """What random halves of a subset's cases do to the difference of the subset, and to the pooled one: [resamples]."""

    exchanged: np.ndarray  # changes by exchanges
    turned: np.ndarray  # sums of influences with random signs
    exchanged_pooled: np.ndarray
    turned_pooled: np.ndarray


def _nulls(
    task: TaskFacts,
    own: list[str],
    one: Facts,
    two: Facts,
    difference: Callable[[np.ndarray, np.ndarray], np.ndarray],
    scoring: Scoring,
) -> dict[str, Nulls]:
    """Each of the subsets `own` under the null hypothesis, over the columns that both systems have."""
    shared = [name for name in one.columns if name in two.columns]
    packed = [Facts({name: facts.columns[name] for name in shared}, []).packed() for facts in (one, two)]

    def value(sums: np.ndarray) -> np.ndarray:
        left, right = np.split(sums, 2, axis=1)
        return difference(_padded(one, shared, left), _padded(two, shared, right))

    sums: dict[str, np.ndarray] = {}
    for subset in own:
        here = task.subsets == subset
        _, codes = np.unique(task.cases[here], return_inverse=True)
        sums[subset] = sums_by_cluster(np.concatenate([side[here] for side in packed], axis=1), codes)
    pooled = sum_of(of_subset.sum(axis=0) for of_subset in sums.values())
    clusters = sum(map(len, sums.values()))
    nulls = {}
    for subset, of_subset in sums.items():
        total = of_subset.sum(axis=0)
        changes = np.column_stack(
            [
                exchanges_of(value, of_subset, total),
                influences_of(value, of_subset, total, len(of_subset)),
                exchanges_of(value, of_subset, pooled),
                influences_of(value, of_subset, pooled, clusters),
            ]
        )
        times, seed = TESTS_PER_RESAMPLE * scoring.resamples, seed_for(scoring.seed, "test", task.task, subset)
        whole, drawn = changes.sum(axis=0), halves(changes, times, seed)
        exchanged, turned = whole - drawn, whole - 2 * drawn
        nulls[subset] = Nulls(exchanged[:, 0], turned[:, 1], exchanged[:, 2], turned[:, 3])
    return nulls


def _padded(facts: Facts, shared: list[str], sums: np.ndarray) -> np.ndarray:
    """Packed sums of the shared columns in the layout of all columns, zero for the others."""
    known = Facts({name: facts.columns[name] for name in shared}, []).unpacked(sums)
    parts = []
    for name, column in facts.columns.items():
        width = 1 if column.ndim == 1 else column.shape[1]
        part = known.get(name)
        parts.append(np.zeros((len(sums), width)) if part is None else part.reshape(len(sums), width))
    return np.concatenate(parts, axis=1)


def corrected(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Comparisons with `p_holm`: the macro lines are one family, the pooled and the single subsets' another."""
    adjusted = list(comparisons)
    for macro in (True, False):
        family = [(place, row.p) for place, row in enumerate(comparisons) if (row.subset == "macro") == macro]
        tested = [(place, p) for place, p in family if p is not None]
        for (place, _), p_holm in zip(tested, holm([p for _, p in tested]), strict=True):
            adjusted[place] = replace(comparisons[place], p_holm=p_holm)
    return adjusted


def agreements(scores: ReportScores, baselines: Collection[str] = ()) -> list[Agreement]:
    """For two systems and two report metrics, whether they move the same way.

    `tau` is Kendall's over the rows' differences between the systems; `opposed` marks mean differences of two signs.
    Metrics of a stratum, scores of judges that are not relied on, and counts that only make sense as a sum, are left
    out.
    """
    rows = []
    for first, second in pairs_to_compare(sorted(scores), baselines):
        keys = [
            key
            for key in scores[first]
            if key in scores[second] and {key.stratum, key.note} == {None} and key.metric not in EFFICACY_COUNTS
        ]
        for one, two in combinations(sorted(keys, key=_order), 2):
            differences = _differences(scores, (first, second), (one, two))
            if not len(differences):
                continue
            left, right = differences.T
            from scipy.stats import kendalltau  # takes a second

            tau = float(kendalltau(left, right).statistic)
            rows.append(
                Agreement(
                    system_a=first,
                    system_b=second,
                    metric_1=one.metric,
                    judge_1=one.judge,
                    metric_2=two.metric,
                    judge_2=two.judge,
                    difference_1=float(left.mean()),
                    difference_2=float(right.mean()),
                    tau=None if np.isnan(tau) else tau,
                    rows=len(differences),
                    opposed=bool(left.mean() * right.mean() < 0),
                )
            )
    return rows


def _order(key: ScoreKey) -> tuple[str, str]:
    return key.metric, key.judge or ""


def _differences(scores: ReportScores, systems: tuple[str, str], keys: tuple[ScoreKey, ScoreKey]) -> np.ndarray:
    """Differences between the systems by row and metric, [rows × 2], of the rows that all four tables score."""
    differences = []
    for uid in scores[systems[0]][keys[0]]:
        values = [scores[system][key].get(uid, (None, ""))[0] for key in keys for system in systems]
        present = [value for value in values if value is not None]
        if len(present) == len(values):
            differences.append((present[1] - present[0], present[3] - present[2]))
    return np.array(differences)


def warnings(rows: Iterable[Agreement]) -> list[str]:
    """A sentence for each pair of judged metrics that move in opposite directions."""
    return [
        f"WARNING: from {row.system_a} to {row.system_b}, {row.metric_1} ({row.judge_1}) changes by "
        f"{row.difference_1:+.3f} and {row.metric_2} ({row.judge_2}) by {row.difference_2:+.3f}: "
        "the judges disagree about which system is better."
        for row in rows
        if row.opposed and {row.metric_1, row.metric_2} == {"crimson", "green"}
    ]


def write_comparisons(
    *,
    outcomes: list[Path],
    scoring: Scoring,
    out: Path,
    agreement: Path,
    report_scores: Sequence[Path] = (),
    rule_based_judges: Sequence[str] = (),
    baselines: Sequence[str] = (),
) -> None:
    """Compare all systems of one split in pairs, and the report metrics with each other.

    Args:
        outcomes: tables of outcomes, one a system.
        report_scores: tables of report scores.
        rule_based_judges: judges that are rules and no models; they head the tables only where no model judges.
        baselines: systems that are not compared among themselves.
        scoring: the configuration's `scoring` as JSON.
        out: table of comparisons to write.
        agreement: table to write of whether two report metrics agree about two systems.

    Raises:
        BadFile: the systems answered different rows, or one system occurs twice.
    """
    scores = read_report_scores(report_scores)
    tasks = facts_of_tasks([read_rows(path, Outcome) for path in outcomes], scores, rule_based_judges)
    comparisons = [
        comparison
        for task in tasks
        for of_systems in [parts_of(task, scoring)]
        for pair in pairs_to_compare(task.systems, baselines)
        for comparison in compare(task, of_systems, *pair, scoring)
    ]
    write_rows(out, corrected(comparisons), Comparison)
    rows = agreements(scores, baselines)
    for line in warnings(rows):
        print(line, file=sys.stderr)
    write_rows(agreement, rows, Agreement)


if __name__ == "__main__":
    run_step(write_comparisons)
