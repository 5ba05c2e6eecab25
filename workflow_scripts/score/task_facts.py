"""Every metric of every system, task and subset, with its bootstrap interval clustered by case."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.metrics import ROW_SCORE, Facts, Metric, Note, ScoredAnswer, Sums
from workflow_scripts.core.rows import MetricValue, Outcome, RowFact
from workflow_scripts.core.tables import schema_of
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.score.statistics import interval, resampled, seed_for, sum_of, sums_by_cluster
from workflow_scripts.tasks.judged.scores import ReportScores

FEW_ROWS = 20
"""Below so many rows a number is noted as one of few rows."""


@dataclass(frozen=True)
class TaskFacts:
    """One task: its subsets, the case of each row, and the facts of every system over the same rows."""

    task: str
    uids: list[str]
    subsets: np.ndarray  # name of each row's subset
    cases: np.ndarray
    systems: dict[str, Facts]


def facts_of_tasks(
    tables: Sequence[Sequence[Outcome]], report_scores: ReportScores, rule_based_judges: Collection[str] = ()
) -> list[TaskFacts]:
    """Facts of every task that occurs in the outcomes, one table a system; tasks in the order of their registry.

    Args:
        tables: outcomes of one system each.
        report_scores: see `tasks.judged.scores`.
        rule_based_judges: judges that are no models, see `headline_of` of the tasks whose answers are judged.

    Raises:
        BadFile: the systems answered different rows, or one system occurs twice.
    """
    by_system = _by_system(tables)
    facts_of = []
    for task in tasks().values():
        metrics, systems = load_part(task.name, "metrics"), {}
        rows = [outcome for outcome in next(iter(by_system.values())) if outcome.task == task.name]
        if rows and task.judged_by is not None:
            scores = scores_of(report_scores, {row.uid for row in rows})
            headline = metrics.headline_of(scores, rule_based_judges)
        for system, outcomes in by_system.items():
            rows = [outcome for outcome in outcomes if outcome.task == task.name]
            if not rows:
                continue
            answers = [_scored(outcome) for outcome in rows]
            if task.judged_by is not None:
                systems[system] = metrics.facts(answers, scores.get(system, {}), headline)
            else:
                systems[system] = metrics.facts(answers)
        if systems:
            facts_of.append(
                TaskFacts(
                    task.name,
                    [row.uid for row in rows],
                    np.array([row.subset for row in rows]),
                    np.array([row.case_id for row in rows]),
                    systems,
                )
            )
    return facts_of


def scores_of(report_scores: ReportScores, uids: Collection[str]) -> ReportScores:
    """The scores of some rows; a column without any of them is left out."""
    scores: ReportScores = {}
    for system, columns in report_scores.items():
        scores[system] = {}
        for key, by_uid in columns.items():
            if own := {uid: entry for uid, entry in by_uid.items() if uid in uids}:
                scores[system][key] = own
    return scores


def subsets_of(metric: Metric, sums: dict[str, Sums]) -> list[str]:
    """The subsets that a metric is about: those with rows that it counts, where it counts other rows than all.

    A stratum keeps the subsets that have none of it: their mean would be over other subsets than that of all rows.
    """
    own = [subset for subset, of_subset in sums.items() if float(of_subset[metric.rows]) > 0]
    return own if own and metric.stratum is None else list(sums)


def _by_system(tables: Sequence[Sequence[Outcome]]) -> dict[str, list[Outcome]]:
    """Each system's outcomes in the order of their uids; raises BadFile where they are not of the same rows."""
    by_system: dict[str, list[Outcome]] = {}
    for table in tables:
        outcomes = sorted(table, key=lambda outcome: outcome.uid)
        names = {outcome.system for outcome in outcomes}
        if len(names) != 1 or names & by_system.keys():
            listed = ", ".join(sorted(names)) or "none"
            raise BadFile(f"each outcomes table needs one system of its own; found {listed}")
        by_system[names.pop()] = outcomes
    uids = {system: [outcome.uid for outcome in outcomes] for system, outcomes in by_system.items()}
    first = next(iter(uids))
    for system, of_system in uids.items():
        if of_system != uids[first]:
            raise BadFile(f"systems {first} and {system} have outcomes for different rows; make both from one split")
    return by_system


def _scored(outcome: Outcome) -> ScoredAnswer:
    strict, lenient = (None if text is None else json.loads(text) for text in (outcome.strict, outcome.lenient))
    if outcome.strict == outcome.lenient:
        lenient = strict
    return ScoredAnswer(
        outcome.uid,
        outcome.subset,
        outcome.case_id,
        outcome.outcome,
        strict,
        lenient,
        json.loads(outcome.reference),
        outcome.answer,
        outcome.reference_raw,
        outcome.percent,
        None if outcome.samples is None else json.loads(outcome.samples),
    )


@dataclass(frozen=True)
class Part:
    """The sums of one system over one subset: as they are, and in every resample."""

    point: np.ndarray
    draws: np.ndarray  # [resamples × columns]
    clusters: int


def parts_of(task: TaskFacts, scoring: Scoring) -> dict[str, dict[str, Part]]:
    """Sums and resampled sums by system and subset. Draws depend on seed, task and subset: all systems share them."""
    packed = {system: facts.packed() for system, facts in task.systems.items()}
    widths = np.cumsum([facts.shape[1] for facts in packed.values()])[:-1]
    together = np.concatenate(list(packed.values()), axis=1)
    parts: dict[str, dict[str, Part]] = {system: {} for system in packed}
    for subset in sorted(set(task.subsets)):
        here = task.subsets == subset
        names, codes = np.unique(task.cases[here], return_inverse=True)
        sums = sums_by_cluster(together[here], codes)
        draws = resampled(sums, scoring.resamples, seed_for(scoring.seed, task.task, subset))
        for system, own in zip(packed, np.split(draws, widths, axis=1), strict=True):
            parts[system][str(subset)] = Part(packed[system][here].sum(axis=0), own, len(names))
    return parts


def metric_values(task: TaskFacts, system: str, parts: Mapping[str, Part], scoring: Scoring) -> list[MetricValue]:
    """The metrics of one system on one task: each subset, the mean over subsets (macro) and all rows (pooled).

    Args:
        parts: the system's, by subset: see `parts_of`.
    """
    facts = task.systems[system]
    points = {subset: facts.unpacked(part.point) for subset, part in parts.items()}
    draws = {subset: facts.unpacked(part.draws) for subset, part in parts.items()}
    pooled_point = facts.unpacked(sum_of(part.point for part in parts.values()))
    pooled_draws = facts.unpacked(sum_of(part.draws for part in parts.values()))
    values = []
    with np.errstate(invalid="ignore", over="ignore"):
        for metric in facts.metrics:
            own = subsets_of(metric, points)
            value_at = {subset: metric.value(points[subset]) for subset in own}
            draws_at = {subset: metric.value(draws[subset]) for subset in own}
            places = [(subset, value_at[subset], draws_at[subset], parts[subset].clusters) for subset in own]
            clusters = sum(parts[subset].clusters for subset in own)
            mean_draws = np.mean(list(draws_at.values()), axis=0)
            places.append(("macro", np.mean(list(value_at.values())), mean_draws, clusters))
            places.append(("pooled", metric.value(pooled_point), metric.value(pooled_draws), clusters))
            for subset, value, resamples, count in places:
                sampled = metric.interval and count > 1
                limits = interval(float(value), resamples, scoring.confidence) if sampled else (None, None)
                sums = points.get(subset, pooled_point)
                parts_in = [points[name] for name in own] if subset == "macro" else []
                note = _note(metric, sums, parts_in)
                values.append(_value(task.task, system, subset, metric, float(value), limits, count, sums, note))
    return values


def _value(
    task: str,
    system: str,
    subset: str,
    metric: Metric,
    value: float,
    limits: tuple[float | None, float | None],
    clusters: int,
    sums: Sums,
    note: str | None,
) -> MetricValue:
    rows = float(sums[metric.rows])
    return MetricValue(
        system=system,
        task=task,
        subset=subset,
        metric=metric.name,
        reading=metric.reading,
        judge=metric.judge,
        stratum=metric.stratum,
        direction=metric.direction,
        value=None if np.isnan(value) else value,
        low=limits[0],
        high=limits[1],
        rows=int(rows),
        clusters=clusters,
        valid_share=float(sums[metric.valid]) / rows if rows else 0.0,
        unread=int(sums[metric.unread]),
        definition=metric.definition,
        primary=metric.primary,
        abstained=int(sums[metric.abstained]) if metric.abstained else 0,
        invalid=int(sums[metric.invalid]) if metric.invalid else 0,
        note=note,
    )


def _note(metric: Metric, sums: Sums, subsets: Sequence[Sums]) -> str | None:
    """Why a value is to be read with care: by its own sums, and by those of the subsets that a mean is made of."""
    notes: list[Note] = ["few_rows"] if float(sums[metric.rows]) < FEW_ROWS else []
    if metric.caution is not None:
        notes += [note for place in (sums, *subsets) if (note := metric.caution(place))]
    return "; ".join(dict.fromkeys(notes)) or None


def row_facts(task: TaskFacts, system: str) -> pa.Table:
    """RowFact table of one system on one task: what each row adds to the sums, over classes and identities together.

    `row_score` is no part of a sum; rows for which it is not known have none.
    """
    columns = {
        name: column if column.ndim == 1 else column.sum(axis=1)
        for name, column in task.systems[system].columns.items()
        if name != "rows"
    }
    row_scores = task.systems[system].row_scores
    if row_scores is not None:
        columns[ROW_SCORE] = row_scores
    values = np.concatenate(list(columns.values()))
    table = pa.table(
        {
            "uid": task.uids * len(columns),
            "system": [system] * len(values),
            "task": [task.task] * len(values),
            "fact": [name for name in columns for _ in task.uids],
            "value": values,
        },
        schema=schema_of(RowFact),
    )
    return table.filter(pa.array(~np.isnan(values)))
