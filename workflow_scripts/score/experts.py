"""How right each row of each expert is by its task's own metric: what an oracle chooses by.

Routed systems have no part in it, so that an oracle may read it before its own answers are scored.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from workflow_scripts.core.command import run_step
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import Outcome, RowFact
from workflow_scripts.core.tables import read_rows, write_table
from workflow_scripts.models.routing.rows import BOUNDED_ERROR
from workflow_scripts.score.metrics import read_report_scores
from workflow_scripts.score.task_facts import facts_of_tasks, row_facts


def score_experts(
    *,
    outcomes: list[Path],
    out: Path,
    report_scores: Sequence[Path] = (),
    rule_based_judges: Sequence[str] = (),
) -> None:
    """Write score and bounded error of every row and system; a row without one has no line of it.

    Args:
        outcomes: tables of outcomes, one a system.
        out: table of row facts to write.
        report_scores: tables of report scores.
        rule_based_judges: judges that are rules and no models; they head the tables only where no model judges.

    Raises:
        BadFile: the systems answered different rows, or one system occurs twice.
    """
    tasks = facts_of_tasks(
        [read_rows(path, Outcome) for path in outcomes], read_report_scores(report_scores), rule_based_judges
    )
    facts = pa.concat_tables([row_facts(task, system) for task in tasks for system in task.systems])
    write_table(out, facts.filter(pc.is_in(facts["fact"], pa.array([ROW_SCORE, BOUNDED_ERROR]))), RowFact)


if __name__ == "__main__":
    run_step(score_experts)
