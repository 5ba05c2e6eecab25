"""Step: how many answers change with the size of the batch: a sample is asked again, and compared.

In float32 none does. In bfloat16 sums are rounded in another order, and where two tokens are nearly alike the other
one may come first.
"""

import argparse
import hashlib
import json
import tempfile
from pathlib import Path

from pydantic import TypeAdapter

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import write_json
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.infer.answer import Asked, answer


def check_stability(
    split: Path,
    predictions: Path,
    root: Path,
    record: Path,
    index: Path | None,
    asked: Asked,
    budgets: dict[str, int],
    batch: int,
    count: int,
    out: Path,
    threads: int,
) -> None:
    """Ask `count` rows again, `batch` at once, and write how many texts differ from `predictions`, by task.

    The sample is the same for every system: the rows whose uid has the lowest hash.
    """
    rows = read_table(split, ROWS).to_pylist()
    sample = sorted(rows, key=lambda row: hashlib.sha256(row["uid"].encode()).digest())[:count]
    before = {row["uid"]: row["text"] for row in read_table(predictions, PREDICTIONS).to_pylist()}
    with tempfile.TemporaryDirectory() as folder:
        write_table(Path(folder) / "rows.parquet", sample, ROWS)
        again = Path(folder) / "again.parquet"
        answer(
            Path(folder) / "rows.parquet",
            (0, 1),
            root,
            record,
            index,
            [asked],
            budgets,
            batch,
            again,
            threads,
            Path(folder) / "kept",
        )
        after = {row["uid"]: row["text"] for row in read_table(again, PREDICTIONS).to_pylist()}
    tasks = sorted({row["task"] for row in sample})
    asked_of = {task: [row["uid"] for row in sample if row["task"] == task] for task in tasks}
    changed = {task: sum(before[uid] != after[uid] for uid in asked_of[task]) for task in tasks}
    found = {
        "system": asked.system,
        "batch": batch,
        "rows": len(sample),
        "changed": sum(changed.values()),
        "by_task": {task: {"rows": len(asked_of[task]), "changed": changed[task]} for task in tasks},
    }
    write_json(out, found)
    print(f"{asked.system}: {found['changed']} of {len(sample)} answers change with {batch} rows at once")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--predictions", type=Path, required=True, help="the system's predictions on them")
    parser.add_argument("--model", type=Path, required=True, help="record of the model")
    parser.add_argument("--root", type=Path, required=True, help="folder that the image paths start from")
    parser.add_argument("--features", type=Path, nargs="?", help="index of the vision features; none: a tuned tower")
    parser.add_argument("--asked", required=True, help="JSON: system, adapter or null, prompt, constrained")
    parser.add_argument("--budgets", required=True, help="JSON: most new tokens by task")
    parser.add_argument("--batch", type=int, required=True, help="rows at once, this time")
    parser.add_argument("--count", type=int, required=True, help="rows to ask again")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    given = parser.parse_args()
    check_stability(
        given.split,
        given.predictions,
        given.root,
        given.model,
        given.features,
        TypeAdapter(Asked).validate_json(given.asked),
        json.loads(given.budgets),
        given.batch,
        given.count,
        given.out,
        given.threads,
    )


if __name__ == "__main__":
    run_step(main)
