"""Compare systems in pairs on every primary metric: paired difference, interval, p value, Holm's correction.

`python -m workflow_scripts.score.comparisons --outcomes A.parquet B.parquet … [--report-scores R.parquet …]
[--baselines NAME …] --spec JSON --out C.parquet --agreement G.parquet`; the spec is the configuration's `scoring`.
"""

import argparse
import sys
from collections.abc import Collection, Iterable
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.metrics import Facts, Measure
from workflow_scripts.core.tables import AGREEMENT, COMPARISONS, OUTCOMES, read_table, write_table
from workflow_scripts.score.metrics import read_report_scores, scoring_of
from workflow_scripts.score.statistics import holm, interval, p_value, seed_for, sums_by_cluster, swapped
from workflow_scripts.score.task_facts import TaskFacts, facts_of_tasks, parts_of
from workflow_scripts.tasks.report.metrics import ReportScores

TESTS_PER_RESAMPLE = 10
"""Rearrangements of a randomisation test for each resample of an interval: a p value needs more of them."""


def pairs_to_compare(systems: Iterable[str], baselines: Collection[str]) -> list[tuple[str, str]]:
    """Every two systems, but not two base lines: no one asks which is better, and each test costs the others power.

    A base line comes first, so that a difference says what the system adds to it.
    """
    return [
        (second, first) if second in baselines else (first, second)
        for first, second in combinations(systems, 2)
        if not (first in baselines and second in baselines)
    ]


def compare(task: TaskFacts, first: str, second: str, scoring: Scoring) -> list[dict]:
    """COMPARISONS rows of two systems on a task's primary metric: each data set, macro and pooled. `p_holm` is open.

    The test exchanges the answers of whole cases between the systems at random (approximate randomisation, two-sided):
    no distribution is assumed, and it holds for ratios such as F1.
    """
    one, two = task.systems[first], task.systems[second]
    measure = next((measure for measure in one.measures if measure.primary), None)
    if measure is None or measure.name not in {other.name for other in two.measures}:
        return []
    parts = parts_of(task, first, scoring), parts_of(task, second, scoring)
    swaps = {dataset: _swapped(task, one, two, dataset, scoring) for dataset in parts[0]}

    def difference(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        return _value(two, measure, right) - _value(one, measure, left)

    points = {d: difference(parts[0][d].point, parts[1][d].point) for d in swaps}
    draws = {d: difference(parts[0][d].draws, parts[1][d].draws) for d in swaps}
    nulls = {d: difference(*swaps[d]) for d in swaps}
    places = [(d, points[d], draws[d], nulls[d]) for d in swaps]
    places.append(("macro", *(np.mean(list(values.values()), axis=0) for values in (points, draws, nulls))))
    places.append(
        (
            "pooled",
            difference(sum(part.point for part in parts[0].values()), sum(part.point for part in parts[1].values())),
            difference(sum(part.draws for part in parts[0].values()), sum(part.draws for part in parts[1].values())),
            difference(sum(pair[0] for pair in swaps.values()), sum(pair[1] for pair in swaps.values())),
        )
    )
    return [
        _row(task, dataset, measure, (first, second), (point, drawn, null), scoring)
        for dataset, point, drawn, null in places
    ]


def _row(
    task: TaskFacts,
    dataset: str,
    measure: Measure,
    systems: tuple[str, str],
    values: tuple[np.ndarray, np.ndarray, np.ndarray],
    scoring: Scoring,
) -> dict:
    point, drawn, null = values
    here = task.datasets == dataset if dataset in task.datasets else np.ones(len(task.datasets), dtype=bool)
    clusters = len(set(zip(task.datasets[here], task.cases[here], strict=True)))
    finite = bool(np.isfinite(point)) and bool(np.isfinite(null).all()) and clusters > 1
    low, high = interval(float(point), drawn, scoring.confidence) if clusters > 1 else (None, None)
    return {
        "task": task.task,
        "dataset": dataset,
        "metric": measure.name,
        "better": measure.better,
        "system_a": systems[0],
        "system_b": systems[1],
        "difference": float(point) if np.isfinite(point) else None,
        "low": low,
        "high": high,
        "p": p_value(float(point), null) if finite else None,
        "p_holm": None,
        "rows": int(here.sum()),
        "clusters": clusters,
    }


def _value(facts: Facts, measure: Measure, sums: np.ndarray) -> np.ndarray:
    """A metric from packed sums. Systems share the layout of their facts, so one's finish serves its own sums only."""
    own = next(other for other in facts.measures if other.name == measure.name)
    with np.errstate(invalid="ignore", over="ignore"):
        return own.finish(facts.unpacked(sums))


def _swapped(task: TaskFacts, one: Facts, two: Facts, dataset: str, scoring: Scoring) -> tuple[np.ndarray, np.ndarray]:
    """Sums of both systems with cases exchanged at random, over the columns that both have."""
    here = task.datasets == dataset
    _, codes = np.unique(task.cases[here], return_inverse=True)
    shared = [name for name in one.columns if name in two.columns]
    first, second = (
        sums_by_cluster(Facts({name: facts.columns[name][here] for name in shared}, []).packed(), codes)
        for facts in (one, two)
    )
    times = TESTS_PER_RESAMPLE * scoring.resamples
    left, right = swapped(first, second, times, seed_for(scoring.seed, "test", task.task, dataset))
    return _padded(one, shared, left), _padded(two, shared, right)


def _padded(facts: Facts, shared: list[str], sums: np.ndarray) -> np.ndarray:
    """Packed sums of the shared columns in the layout of all columns, zero for the others."""
    known = Facts({name: facts.columns[name] for name in shared}, []).unpacked(sums)
    parts = []
    for name, column in facts.columns.items():
        width = 1 if column.ndim == 1 else column.shape[1]
        part = known.get(name)
        parts.append(np.zeros((len(sums), width)) if part is None else part.reshape(len(sums), width))
    return np.concatenate(parts, axis=1)


def corrected(rows: list[dict]) -> list[dict]:
    """Rows with `p_holm`: the macro lines are one family, the pooled and the single data sets' lines another."""
    for family in (
        [row for row in rows if row["dataset"] == "macro" and row["p"] is not None],
        [row for row in rows if row["dataset"] != "macro" and row["p"] is not None],
    ):
        for row, adjusted in zip(family, holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = adjusted
    return rows


def agreement_rows(scores: ReportScores, baselines: Collection[str] = ()) -> list[dict]:
    """AGREEMENT rows: for two systems and two report metrics, whether they move the same way.

    `tau` is Kendall's over the rows' differences between the systems; `opposed` marks mean differences of unlike sign.
    """
    rows = []
    for first, second in pairs_to_compare(sorted(scores), baselines):
        names = sorted(
            name for name in scores[first] if name in scores[second] and not name.endswith("normal") and "." not in name
        )
        for one, two in combinations(names, 2):
            differences = [
                (scores[second][one][uid][0] - scores[first][one][uid][0],
                 scores[second][two][uid][0] - scores[first][two][uid][0])
                for uid in scores[first][one]
                if all(
                    scores[system][name].get(uid, (None,))[0] is not None
                    for system in (first, second)
                    for name in (one, two)
                )
            ]  # fmt: skip
            if not differences:
                continue
            left, right = np.array(differences).T
            tau = kendalltau(left, right).statistic
            rows.append(
                {
                    "system_a": first,
                    "system_b": second,
                    "metric_1": one,
                    "metric_2": two,
                    "difference_1": float(left.mean()),
                    "difference_2": float(right.mean()),
                    "tau": None if np.isnan(tau) else float(tau),
                    "rows": len(differences),
                    "opposed": bool(left.mean() * right.mean() < 0),
                }
            )
    return rows


def warnings(rows: list[dict]) -> list[str]:
    """A sentence for each pair of judged metrics that move in opposite directions."""
    return [
        f"WARNING: from {row['system_a']} to {row['system_b']}, {row['metric_1']} changes by "
        f"{row['difference_1']:+.3f} and {row['metric_2']} by {row['difference_2']:+.3f}: "
        "the judges disagree about which system is better."
        for row in rows
        if row["opposed"] and {row["metric_1"].split("_")[0], row["metric_2"].split("_")[0]} == {"crimson", "green"}
    ]


def compare_systems(
    outcomes: list[Path],
    report_scores: list[Path],
    baselines: Collection[str],
    scoring: Scoring,
    out: Path,
    agreement: Path,
) -> None:
    """Write the COMPARISONS and AGREEMENT tables."""
    scores = read_report_scores(report_scores)
    tasks = facts_of_tasks([read_table(path, OUTCOMES) for path in outcomes], scores)
    rows = [
        row
        for task in tasks
        for pair in pairs_to_compare(task.systems, baselines)
        for row in compare(task, *pair, scoring)
    ]
    write_table(out, corrected(rows), COMPARISONS)
    agreed = agreement_rows(scores, baselines)
    for line in warnings(agreed):
        print(line, file=sys.stderr)
    write_table(agreement, agreed, AGREEMENT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outcomes", type=Path, nargs="+", required=True)
    parser.add_argument("--report-scores", type=Path, nargs="*", default=[])
    parser.add_argument("--baselines", nargs="*", default=[], help="systems that are not compared among themselves")
    parser.add_argument("--spec", required=True, help="the configuration's `scoring` as JSON")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--agreement", type=Path, required=True)
    given = parser.parse_args()
    scoring = scoring_of(given.spec)
    compare_systems(given.outcomes, given.report_scores, given.baselines, scoring, given.out, given.agreement)


if __name__ == "__main__":
    run_step(main)
