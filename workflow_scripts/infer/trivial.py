"""Step: answer without looking, from the training rows alone: the line that every system must beat.

A question is answered as the training rows of its data set and task are usually answered: the commonest answer
where it is text, the median where it is a number, the median box where it is one. A data set that the training
rows lack is answered as its task is.
"""

import argparse
import json
import statistics
from collections import Counter
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.systems import TrivialSystem
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table, write_table


def usual_answer(rows: list[dict]) -> str:
    """The usual answer of training rows of one task. Ties go to the answer that sorts first."""
    task = rows[0]["task"]
    if task in ("counting", "regression"):
        middle = statistics.median(row["number"] for row in rows)
        percent = "%" if sum(row["answer"].endswith("%") for row in rows) * 2 > len(rows) else ""
        return (f"{round(middle)}" if task == "counting" else f"{middle:g}") + percent
    if task == "detection":
        return json.dumps([_median_box([box for row in rows for box in row["boxes"]], rows[0]["convention"])])
    if task == "instance_detection":
        by_identity: dict[str, list] = {}
        for row in rows:
            for instance in row["instances"]:
                by_identity.setdefault(instance["identity"], []).append(instance["box"])
        common = {name: boxes for name, boxes in sorted(by_identity.items()) if len(boxes) * 2 >= len(rows)}
        return json.dumps({name: [_median_box(boxes, rows[0]["convention"])] for name, boxes in common.items()})
    counted = Counter(row["answer"] for row in rows)
    return min(counted, key=lambda answer: (-counted[answer], answer))


def _median_box(boxes: list[dict], convention: str) -> list[int]:
    x1, y1, x2, y2 = (round(statistics.median(box[edge] for box in boxes)) for edge in ("x1", "y1", "x2", "y2"))
    return [x1, y1, x2, y2] if convention == "xyxy" else [x1, y1, x2 - x1, y2 - y1]


def answer_trivially(train: Path, split: Path, system: str, out: Path) -> None:
    """Write one prediction a row of `split` from the rows of `train`.

    Raises:
        Refused: no training row has a task that the split asks about.
    """
    by_set: dict[tuple[str, str], list[dict]] = {}
    by_task: dict[str, list[dict]] = {}
    for row in read_table(train, ROWS).to_pylist():
        by_set.setdefault((row["dataset"], row["task"]), []).append(row)
        by_task.setdefault(row["task"], []).append(row)
    answers = {key: usual_answer(rows) for key, rows in by_set.items()}
    fallback = {task: usual_answer(rows) for task, rows in by_task.items()}
    predictions = []
    for row in read_table(split, ROWS).to_pylist():
        if row["task"] not in fallback:
            raise Refused(f"{train} has no {row['task']} row to answer {row['uid']} from; train on a wider split")
        text = answers.get((row["dataset"], row["task"]), fallback[row["task"]])
        predictions.append({"uid": row["uid"], "system": system, "text": text, "finish": "rule"})
    write_table(out, predictions, PREDICTIONS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="JSON of the system's entry")
    parser.add_argument("--train", type=Path, required=True, help="Parquet of training rows")
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows to answer")
    parser.add_argument("--system", required=True, help="name of the system")
    parser.add_argument("--out", type=Path, required=True, help="Parquet to write")
    given = parser.parse_args()
    TrivialSystem.model_validate_json(given.spec)
    answer_trivially(given.train, given.split, given.system, given.out)


if __name__ == "__main__":
    run_step(main)
