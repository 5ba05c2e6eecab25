"""Step: answer a split from training rows alone, without an image: what a score means is read beside such baselines.

A row is answered from the training rows of its subset and task; where there are none, from those of its task.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.tasks.baselines import Answer


def write_baseline(
    *,
    baseline: Literal["majority", "empty", "constant", "nearest"],
    train: Path,
    split: Path,
    system: str,
    out: Path,
) -> None:
    """Write one prediction a row of the split.

    Args:
        baseline: how a row is answered: with the usual answer, the empty one, a constant, or as the training row with
            the most similar question was answered.
        train: Parquet of training rows.
        split: Parquet of rows to answer.
        system: name of the system.
        out: Parquet of predictions to write.

    Raises:
        Refused: no training row has a task of the split, or a task has no baselines.
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in read_rows(train, Row):
        groups.setdefault((row.task, row.subset), []).append(row)
        groups.setdefault((row.task,), []).append(row)
    answers: dict[tuple[str, ...], Answer] = {}
    predictions = []
    for row in read_rows(split, Row):
        key = next((key for key in ((row.task, row.subset), (row.task,)) if key in groups), None)
        if key is None:
            raise Refused(f"{train} has no {row.task} row to answer {row.uid} from; train on a wider split")
        if key not in answers:
            answers[key] = answers_of(baseline, row.task, groups[key])
        predictions.append(Prediction(row.uid, system, answers[key](row), "baseline"))
    write_rows(out, predictions, Prediction)


def answers_of(baseline: str, task: str, rows: Sequence[Row]) -> Answer:
    """The baseline of a task, with what it has to know of training rows of that task.

    Raises:
        Refused: the task has no baselines.
    """
    try:
        part = load_part(task, "baselines")
    except ModuleNotFoundError as error:
        if error.name != f"{tasks()[task].package}.baselines":
            raise
        raise Refused(f"task {task!r} has no baselines; leave out the systems with `baseline`, or its rows") from None
    if baseline == "nearest":
        from workflow_scripts.tasks.nearest import nearest  # a second of import that the others need not pay

        return nearest(rows, part.answer_of)
    answer: Answer = getattr(part, baseline)(rows)
    return answer


if __name__ == "__main__":
    run_step(write_baseline)
