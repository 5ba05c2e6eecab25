"""Every metric of every system, task and data set, with its bootstrap interval clustered by case."""

import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.metrics import Answer, Facts
from workflow_scripts.core.tables import ROW_FACTS
from workflow_scripts.core.tasks import TASKS, Task
from workflow_scripts.score.statistics import interval, resampled, seed_for, sums_by_cluster
from workflow_scripts.tasks.box_metrics import detection_facts, instance_facts
from workflow_scripts.tasks.label_metrics import classification_facts, multi_label_facts
from workflow_scripts.tasks.number_metrics import number_facts
from workflow_scripts.tasks.report.metrics import ReportScores, headline_of, report_facts

FACTS: dict[Task, Callable[[list[Answer]], Facts]] = {
    "classification": classification_facts,
    "multi_label": multi_label_facts,
    "detection": detection_facts,
    "instance_detection": instance_facts,
    "counting": number_facts,
    "regression": number_facts,
}


@dataclass(frozen=True)
class TaskFacts:
    """One task: its data sets, the case of each row, and the facts of every system over the same rows."""

    task: Task
    uids: list[str]
    datasets: np.ndarray  # name of each row's data set
    cases: np.ndarray
    systems: dict[str, Facts]


def facts_of_tasks(tables: list[pa.Table], report_scores: ReportScores) -> list[TaskFacts]:
    """Facts of every task that occurs in the outcome tables, one table a system.

    Raises:
        BadFile: the systems answered different rows, or one system occurs twice.
    """
    by_system: dict[str, list[dict]] = {}
    for table in tables:
        rows = sorted(table.to_pylist(), key=lambda row: row["uid"])
        names = {row["system"] for row in rows}
        if len(names) != 1 or names & by_system.keys():
            found = ", ".join(sorted(names)) or "none"
            raise BadFile(f"each outcomes table needs one system of its own; found {found}")
        by_system[names.pop()] = rows
    uids = {system: [row["uid"] for row in rows] for system, rows in by_system.items()}
    first = next(iter(uids))
    for system, listed in uids.items():
        if listed != uids[first]:
            raise BadFile(f"systems {first} and {system} have outcomes for different rows; make both from one split")
    headline = headline_of(report_scores)
    found = []
    for task in TASKS:
        facts = {}
        for system, rows in by_system.items():
            mine = [row for row in rows if row["task"] == task]
            if not mine:
                continue
            answers = [_answer(row) for row in mine]
            facts[system] = (
                report_facts(answers, [row["uid"] for row in mine], report_scores.get(system, {}), headline)
                if task == "report"
                else FACTS[task](answers)
            )
        if facts:
            found.append(
                TaskFacts(
                    task,
                    [row["uid"] for row in mine],
                    np.array([row["dataset"] for row in mine]),
                    np.array([row["case_id"] for row in mine]),
                    facts,
                )
            )
    return found


def _answer(row: dict) -> Answer:
    strict, lenient = (None if row[name] is None else json.loads(row[name]) for name in ("strict", "lenient"))
    if row["strict"] == row["lenient"]:
        lenient = strict
    return Answer(row["dataset"], row["case_id"], row["outcome"], strict, lenient, json.loads(row["gold"]), row["text"])


@dataclass(frozen=True)
class Part:
    """The sums of one system over one data set: as they are, and in every resample."""

    point: np.ndarray
    draws: np.ndarray  # [resamples × columns]
    clusters: int


def parts_of(task: TaskFacts, system: str, scoring: Scoring) -> dict[str, Part]:
    """Sums and resampled sums of each data set. Draws depend on seed, task and data set, not on the system."""
    packed = task.systems[system].packed()
    parts = {}
    for dataset in sorted(set(task.datasets)):
        here = task.datasets == dataset
        names, codes = np.unique(task.cases[here], return_inverse=True)
        sums = sums_by_cluster(packed[here], codes)
        draws = resampled(sums, scoring.resamples, seed_for(scoring.seed, task.task, dataset))
        parts[dataset] = Part(packed[here].sum(axis=0), draws, len(names))
    return parts


def metric_rows(task: TaskFacts, system: str, scoring: Scoring) -> list[dict]:
    """METRICS rows of one system on one task: each data set, the mean over data sets (macro) and all rows (pooled)."""
    facts = task.systems[system]
    parts = parts_of(task, system, scoring)
    points = {dataset: facts.unpacked(part.point) for dataset, part in parts.items()}
    draws = {dataset: facts.unpacked(part.draws) for dataset, part in parts.items()}
    pooled_point = facts.unpacked(sum(part.point for part in parts.values()))
    pooled_draws = facts.unpacked(sum(part.draws for part in parts.values()))
    clusters = sum(part.clusters for part in parts.values())
    rows = []
    with np.errstate(invalid="ignore", over="ignore"):
        for measure in facts.measures:
            value_at = {dataset: measure.finish(points[dataset]) for dataset in parts}
            draws_at = {dataset: measure.finish(draws[dataset]) for dataset in parts}
            places = [(dataset, value_at[dataset], draws_at[dataset], parts[dataset].clusters) for dataset in parts]
            mean_draws = np.mean(list(draws_at.values()), axis=0)
            places.append(("macro", np.mean(list(value_at.values())), mean_draws, clusters))
            places.append(("pooled", measure.finish(pooled_point), measure.finish(pooled_draws), clusters))
            for dataset, value, drawn, count in places:
                sums = points.get(dataset, pooled_point)
                sampled = measure.interval and count > 1
                low, high = interval(float(value), drawn, scoring.confidence) if sampled else (None, None)
                counted = float(sums[measure.rows])
                rows.append(
                    {
                        "system": system,
                        "task": task.task,
                        "dataset": dataset,
                        "metric": measure.name,
                        "better": measure.better,
                        "value": None if np.isnan(value) else float(value),
                        "low": low,
                        "high": high,
                        "rows": int(counted),
                        "clusters": count,
                        "valid_share": float(sums[measure.valid]) / counted if counted else 0.0,
                        "unread": int(sums[measure.unread]),
                        "rule": measure.rule,
                        "primary": measure.primary,
                    }
                )
    return rows


def row_facts(task: TaskFacts, system: str) -> pa.Table:
    """ROW_FACTS of one system on one task: what each row adds to the sums, over classes and identities together."""
    columns = {
        name: column if column.ndim == 1 else column.sum(axis=1)
        for name, column in task.systems[system].columns.items()
        if name != "rows"
    }
    count = len(task.uids)
    return pa.table(
        {
            "uid": task.uids * len(columns),
            "system": [system] * count * len(columns),
            "task": [task.task] * count * len(columns),
            "fact": [name for name in columns for _ in range(count)],
            "value": np.concatenate(list(columns.values())),
        },
        schema=ROW_FACTS,
    )
