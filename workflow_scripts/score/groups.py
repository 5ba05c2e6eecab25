"""Step: the primary metrics by hospital, scanner, sex or whatever a source says of its rows, and the gaps between them.

Everything follows from the facts of each row, as the metrics do: no model and no judge is asked. A value that few cases
bear, or of which the metric is undefined, is shown and not ranked: it takes no part in gaps.
"""

import sys
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.scoring import Groups, Scoring
from workflow_scripts.core.groups.rows import GroupGap, GroupValue
from workflow_scripts.core.groups.values import group_value
from workflow_scripts.core.rows import Outcome, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.score.grouping.cuts import Cut, Values, cut_by, values_of
from workflow_scripts.score.grouping.estimates import Measured, Place, averaged, estimates_of, measured
from workflow_scripts.score.grouping.gaps import Estimates, range_of, simultaneous
from workflow_scripts.score.metrics import read_report_scores
from workflow_scripts.score.statistics import holm, interval, resampled, seed_for
from workflow_scripts.score.task_facts import FEW_ROWS, TaskFacts, facts_of_tasks


def value_lines(
    task: TaskFacts, one: Measured, place: Place, group: str, values: Values, scoring: Scoring
) -> list[GroupValue]:
    """A line for each value that rows of the place bear."""
    lines = []
    packed = one.every.packed()
    for code, name in enumerate(values.names):
        cuts = place.cuts if place.ranked[code] else place.every
        here = np.concatenate([cut.rows[cut.values == code] for cut in cuts])
        if not len(here):
            continue
        sums = one.every.unpacked(packed[here].sum(axis=0))
        rows, clusters = float(sums[one.metric.rows]), sum(cut.cases_of(code) for cut in cuts)
        score = float(place.estimates.point[code])
        limits: tuple[float | None, float | None] = (None, None)
        shares = limits
        if clusters > 1:
            limits = interval(score, place.estimates.draws[:, code], scoring.confidence)
            shares = _share_limits(task, one, cuts, code, scoring)
        notes = ["few_rows"] if rows < FEW_ROWS else []
        notes += [note for note in [one.metric.caution and one.metric.caution(sums)] if note]
        lines.append(
            GroupValue(
                group=group,
                value=name,
                system=one.system,
                task=task.task,
                subset=place.subset,
                metric=one.metric.name,
                judge=one.metric.judge,
                direction=one.metric.direction,
                score=score if np.isfinite(score) else None,
                low=limits[0],
                high=limits[1],
                rows=int(rows),
                clusters=clusters,
                valid_share=float(sums[one.metric.valid]) / rows if rows else 0.0,
                valid_low=shares[0],
                valid_high=shares[1],
                ranked=bool(place.ranked[code]),
                joined=values.joined if code == values.listed and values.joined else 0,
                note="; ".join(notes) or None,
            )
        )
    return lines


def _share_limits(
    task: TaskFacts, one: Measured, cuts: Iterable[Cut], code: int, scoring: Scoring
) -> tuple[float | None, float | None]:
    """Interval of the share of valid rows of a value, over several subsets together."""
    point, draws = np.zeros(2), np.zeros((scoring.resamples, 2))
    columns = np.column_stack([one.facts.columns[one.metric.valid], one.facts.columns[one.metric.rows]]).astype(float)
    for cut in cuts:
        subset = str(task.subsets[cut.rows[0]])
        sums = cut.sums(columns[cut.rows])[:, code]
        point += sums.sum(axis=0)
        draws += resampled(sums, scoring.resamples, seed_for(scoring.seed, task.task, subset))
    with np.errstate(invalid="ignore"):
        return interval(float(point[0] / point[1]), draws[:, 0] / draws[:, 1], scoring.confidence)


def gap_lines(
    task: TaskFacts, one: Measured, place: Place, group: str, names: Sequence[str], confidence: float
) -> list[GroupGap]:
    """The range of the ranked values and, where there are more than two, each against all others. `p_adjusted` is open.

    No line where fewer than two values are ranked.
    """
    ranked = np.flatnonzero(place.ranked)
    estimates = Estimates(
        place.estimates.point[ranked], place.estimates.draws[:, ranked], place.estimates.permuted[:, ranked]
    )
    if len(ranked) < 2:
        return []
    bearing = [np.isin(cut.values, ranked) for cut in place.cuts]
    extent = range_of(estimates, confidence)
    widest = GroupGap(
        group=group,
        system=one.system,
        task=task.task,
        subset=place.subset,
        metric=one.metric.name,
        judge=one.metric.judge,
        direction=one.metric.direction,
        kind="range",
        first=names[ranked[extent.first]],
        second=names[ranked[extent.second]],
        gap=extent.gap,
        low=extent.low,
        high=extent.high,
        p=extent.p,
        p_adjusted=None,
        values=len(ranked),
        rows=sum(int(here.sum()) for here in bearing),
        clusters=sum(len(np.unique(cut.cases[here])) for cut, here in zip(place.cuts, bearing, strict=True)),
    )
    if len(ranked) == 2:
        return [widest]
    differences = estimates - place.rest
    gaps = simultaneous(differences, confidence)
    lines = [widest]
    for position, code in enumerate(ranked.tolist()):
        low, high, p = (
            (None, None, None) if gaps is None else (each[position] for each in (gaps.low, gaps.high, gaps.p))
        )
        lines.append(
            replace(
                widest,
                kind="rest",
                first=names[code],
                second=None,
                gap=float(differences.point[position]),
                low=None if low is None else float(low),
                high=None if high is None else float(high),
                p=None if p is None else float(p),
            )
        )
    return lines


def adjusted(lines: Sequence[GroupGap], baselines: Collection[str] = ()) -> list[GroupGap]:
    """Gaps with `p_adjusted`: macro lines are one family, those of single subsets another; baselines are in none.

    Ranges are corrected by Holm's rule. A value against the rest has a p that is corrected for the number of values
    already, and is multiplied by the number of such sets of values (Bonferroni): sets hold true and false hypotheses
    side by side, so that a step-down rule over sets would not keep the rate.
    """
    result = list(lines)
    for macro in (True, False):
        tested = [
            (place, line, line.p)
            for place, line in enumerate(lines)
            if (line.subset == "macro") == macro and line.p is not None and line.system not in baselines
        ]
        ranges = [(place, p) for place, line, p in tested if line.kind == "range"]
        for (place, _), p in zip(ranges, holm([p for _, p in ranges]), strict=True):
            result[place] = replace(lines[place], p_adjusted=p)
        rest = [entry for entry in tested if entry[1].kind == "rest"]
        sets = {(line.group, line.system, line.task, line.subset) for _, line, _ in rest}
        for place, line, p in rest:
            result[place] = replace(line, p_adjusted=min(1.0, len(sets) * p))
    return result


def scores_by_group(
    tasks: Iterable[TaskFacts], rows: Sequence[Row], groups: Groups, scoring: Scoring, baselines: Collection[str] = ()
) -> tuple[list[GroupValue], list[GroupGap]]:
    """Values and gaps of every task by every configured group that some row of the task bears."""
    tasks, lines, gaps = list(tasks), [], []
    for group in groups.columns:
        value_of = {row.uid: group_value(row, group) for row in rows}
        for task in tasks:
            values = values_of([value_of[uid] for uid in task.uids])
            if not values.listed:
                continue
            systems = [one for name, facts in task.systems.items() if (one := measured(name, facts)) is not None]
            cuts = cut_by(task, values, groups.least_cases)
            by_subset = [estimates_of(task, systems, cut, subset, group, scoring) for subset, cut in cuts.items()]
            for one in systems:
                places = [of_subset[one.system] for of_subset in by_subset]
                for place in (averaged(places), *places):
                    if place is not None:
                        lines += value_lines(task, one, place, group, values, scoring)
                        gaps += gap_lines(task, one, place, group, values.names, scoring.confidence)
    return lines, adjusted(gaps, baselines)


def absent(rows: Sequence[Row], columns: Iterable[str]) -> list[str]:
    """A sentence for each configured group that no row of the split bears."""
    there = sorted({group.name for row in rows for group in row.groups})
    return [
        f"WARNING: groups.columns: no row of this split states {name!r}; "
        f"{'its rows state ' + ', '.join(map(repr, there)) if there else 'its rows state no group at all'}."
        for name in columns
        if name not in there
    ]


def write_groups(
    *,
    split: Path,
    outcomes: list[Path],
    groups: Groups,
    scoring: Scoring,
    out: Path,
    gaps: Path,
    report_scores: Sequence[Path] = (),
    rule_based_judges: Sequence[str] = (),
    baselines: Sequence[str] = (),
) -> None:
    """Compute the primary metrics of all systems on one split by group, and the gaps between the values of each.

    Args:
        split: table of the split's rows, which bear the groups.
        outcomes: tables of outcomes, one a system.
        groups: the configuration's `groups` as JSON.
        scoring: the configuration's `scoring` as JSON.
        out: table of values by group to write.
        gaps: table of gaps to write.
        report_scores: tables of report scores.
        rule_based_judges: judges that are rules and no models; they head the tables only where no model judges.
        baselines: systems whose gaps are shown and not tested.

    Raises:
        BadFile: the systems answered different rows, or one system occurs twice.
    """
    rows = read_rows(split, Row)
    for sentence in absent(rows, groups.columns):
        print(sentence, file=sys.stderr)
    tasks = facts_of_tasks(
        [read_rows(path, Outcome) for path in outcomes], read_report_scores(report_scores), rule_based_judges
    )
    values, differences = scores_by_group(tasks, rows, groups, scoring, baselines)
    write_rows(out, values, GroupValue)
    write_rows(gaps, differences, GroupGap)


if __name__ == "__main__":
    run_step(write_groups)
