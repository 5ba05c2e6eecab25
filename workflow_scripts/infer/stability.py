"""Step: how many answers change with the size of the batch: a sample is answered again, and compared.

In float32 none does. In bfloat16 sums are rounded in another order, and where two tokens are nearly alike the other
one may come first.
"""

import hashlib
import tempfile
from collections import Counter
from pathlib import Path

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import write_json
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.infer.answer import GroupMember, answer


def write_stability(
    *,
    split: Path,
    predictions: Path,
    model: Path,
    root: Path,
    features: Path | None = None,
    member: GroupMember,
    max_new_tokens: dict[str, int],
    batch: int,
    sample: int,
    threads: int,
    out: Path,
) -> str:
    """Answer a sample of rows again, and write how many texts differ from the predictions, by task.

    The sample is the same for every system: the rows whose uid has the lowest hash.

    Args:
        split: Parquet of rows.
        predictions: the system's predictions on them.
        model: record of the model.
        root: folder that the image paths start from.
        features: index of the vision features; none: a tuned tower computes its own.
        member: JSON of the system: system, adapter or null, prompt, constrained.
        max_new_tokens: limit of new tokens, by task.
        batch: rows at once, this time.
        sample: rows to answer again.
        threads: CPU threads.
        out: JSON to write.
    """
    chosen = sorted(read_rows(split, Row), key=lambda row: hashlib.sha256(row.uid.encode()).digest())[:sample]
    before = {row.uid: row.model_text for row in read_rows(predictions, Prediction)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.parquet", chosen, Row)
        answer(
            split=folder / "rows.parquet",
            model=model,
            root=root,
            features=features,
            members=[member],
            max_new_tokens=max_new_tokens,
            batch=batch,
            threads=threads,
            store=folder / "answers",
            out=folder / "again.parquet",
        )
        after = {row.uid: row.text for row in read_rows(folder / "again.parquet", Prediction)}
    rows = Counter(row.task for row in chosen)
    changed = Counter(row.task for row in chosen if before[row.uid] != after[row.uid])
    summary = {
        "system": member.system,
        "batch": batch,
        "rows": len(chosen),
        "changed": changed.total(),
        "by_task": {task: {"rows": rows[task], "changed": changed[task]} for task in sorted(rows)},
    }
    write_json(out, summary)
    return f"{member.system}: {changed.total()} of {len(chosen)} answers change with {batch} rows at once"


if __name__ == "__main__":
    run_step(write_stability)
