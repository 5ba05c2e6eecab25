"""Metrics of all systems on one split, with intervals.

`python -m workflow_scripts.score.metrics --outcomes A.parquet B.parquet --spec JSON [--report-scores R.parquet …]
--out M.parquet [--facts F.parquet]`; the spec is the configuration's `scoring`.
"""

import argparse
from pathlib import Path

import pyarrow as pa
from pydantic import ValidationError

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.tables import METRICS, OUTCOMES, REPORT_SCORES, ROW_FACTS, read_table, write_table
from workflow_scripts.score.task_facts import facts_of_tasks, metric_rows, row_facts
from workflow_scripts.tasks.report.metrics import ReportScores


def scoring_of(spec: str) -> Scoring:
    """The `scoring` section in a command line's JSON.

    Raises:
        Refused: it is not one.
    """
    try:
        return Scoring.model_validate_json(spec)
    except ValidationError as error:
        raise Refused(f"--spec is no scoring section: {error.errors()[0]['msg']}") from None


def read_report_scores(paths: list[Path]) -> ReportScores:
    """Report scores of several tables by system, metric and uid."""
    found: ReportScores = {}
    for path in paths:
        for row in read_table(path, REPORT_SCORES).to_pylist():
            by_uid = found.setdefault(row["system"], {}).setdefault(row["metric"], {})
            by_uid[row["uid"]] = (row["value"], row["status"])
    return found


def score_systems(
    outcomes: list[Path], report_scores: list[Path], scoring: Scoring, out: Path, facts: Path | None = None
) -> None:
    """Write the METRICS table of all systems and, where asked for, the ROW_FACTS that its sums are made of."""
    tables = [read_table(path, OUTCOMES) for path in outcomes]
    tasks = facts_of_tasks(tables, read_report_scores(report_scores))
    rows = [row for task in tasks for system in task.systems for row in metric_rows(task, system, scoring)]
    if facts is not None:
        parts = [row_facts(task, system) for task in tasks for system in task.systems]
        write_table(facts, pa.concat_tables(parts), ROW_FACTS)
    write_table(out, rows, METRICS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--outcomes", type=Path, nargs="+", required=True)
    parser.add_argument("--report-scores", type=Path, nargs="*", default=[])
    parser.add_argument("--spec", required=True, help="the configuration's `scoring` as JSON")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--facts", type=Path, help="also write what each row adds to the sums")
    given = parser.parse_args()
    score_systems(given.outcomes, given.report_scores, scoring_of(given.spec), given.out, given.facts)


if __name__ == "__main__":
    run_step(main)
