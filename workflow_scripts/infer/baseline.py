"""Step: answer without looking, from the training rows alone: the lines that every system must beat.

A question is answered by a rule from the training rows of its data set and task; where there are none, from those of
its task.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.systems import BaselineSystem
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.tasks.baselines import Answer, constant, empty, majority


def rule_of(name: str) -> Callable[[list[dict]], Answer]:
    """The rule that a trivial system names."""
    if name == "nearest":
        from workflow_scripts.tasks.nearest import nearest  # a second of import that the others need not pay

        return nearest
    return {"majority": majority, "empty": empty, "constant": constant}[name]


def answer_by_baseline(rule: str, train: Path, split: Path, system: str, out: Path) -> None:
    """Write one prediction a row of `split` from the rows of `train`.

    Raises:
        Refused: no training row has a task that the split asks about.
    """
    known: dict[tuple[str, ...], list[dict]] = {}
    for row in read_table(train, ROWS).to_pylist():
        known.setdefault((row["task"], row["dataset"]), []).append(row)
        known.setdefault((row["task"],), []).append(row)
    answers: dict[tuple[str, ...], Answer] = {}
    predictions = []
    for row in read_table(split, ROWS).to_pylist():
        kind = next((k for k in ((row["task"], row["dataset"]), (row["task"],)) if k in known), None)
        if kind is None:
            raise Refused(f"{train} has no {row['task']} row to answer {row['uid']} from; train on a wider split")
        if kind not in answers:
            answers[kind] = rule_of(rule)(known[kind])
        predictions.append({"uid": row["uid"], "system": system, "text": answers[kind](row), "finish": "rule"})
    write_table(out, predictions, PREDICTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="JSON of the system's entry")
    parser.add_argument("--train", type=Path, required=True, help="Parquet of training rows")
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows to answer")
    parser.add_argument("--system", required=True, help="name of the system")
    parser.add_argument("--out", type=Path, required=True, help="Parquet to write")
    given = parser.parse_args()
    spec = BaselineSystem.model_validate_json(given.spec)
    answer_by_baseline(spec.baseline, given.train, given.split, given.system, given.out)


if __name__ == "__main__":
    run_step(main)
