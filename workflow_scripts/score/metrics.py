"""Metrics of all systems on one split, with intervals.

`python -m workflow_scripts.score.metrics --outcomes A.parquet B.parquet [--report-scores R.parquet …]
[--rule-based-judges NAME …] --scoring JSON --out M.parquet [--facts F.parquet]`
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.metrics import NOTES, Note
from workflow_scripts.core.rows import MetricValue, Outcome, ReportScore, RowFact
from workflow_scripts.core.tables import read_rows, write_rows, write_table
from workflow_scripts.score.task_facts import facts_of_tasks, metric_values, parts_of, row_facts
from workflow_scripts.tasks.judged.scores import ReportScores, ScoreKey


def read_report_scores(paths: Iterable[Path]) -> ReportScores:
    """Report scores of several tables by system, metric and uid."""
    scores: ReportScores = {}
    for path in paths:
        for score in read_rows(path, ReportScore):
            key = ScoreKey(score.metric, score.judge, score.stratum, _note(score, path))
            scores.setdefault(score.system, {}).setdefault(key, {})[score.uid] = (score.value, score.status)
    return scores


def _note(score: ReportScore, path: Path) -> Note | None:
    """The note of a score.

    Raises:
        BadFile: it is none of `NOTES`.
    """
    if score.note is None:
        return None
    for note in NOTES:
        if note == score.note:
            return note
    raise BadFile(f"{path}: {score.note!r} is no note; delete it and run again")


def write_metrics(
    *,
    outcomes: list[Path],
    scoring: Scoring,
    out: Path,
    report_scores: Sequence[Path] = (),
    rule_based_judges: Sequence[str] = (),
    facts: Path | None = None,
) -> None:
    """Compute every metric of all systems on one split, with intervals.

    Args:
        outcomes: tables of outcomes, one a system.
        report_scores: tables of report scores.
        rule_based_judges: judges that are rules and no models; they head the tables only where no model judges.
        scoring: the configuration's `scoring` as JSON.
        out: table of metrics to write.
        facts: table to write of what each row adds to the sums that metrics are made of.

    Raises:
        BadFile: the systems answered different rows, or one system occurs twice.
    """
    tasks = facts_of_tasks(
        [read_rows(path, Outcome) for path in outcomes], read_report_scores(report_scores), rule_based_judges
    )
    if facts is not None:
        parts = [row_facts(task, system) for task in tasks for system in task.systems]
        write_table(facts, pa.concat_tables(parts), RowFact)
    values = [
        value
        for task in tasks
        for system, of_system in parts_of(task, scoring).items()
        for value in metric_values(task, system, of_system, scoring)
    ]
    write_rows(out, values, MetricValue)


if __name__ == "__main__":
    run_step(write_metrics)
