"""Step: a system's predictions as the challenge's `predictions.json`.

A list of the question files' records with the prediction in `Answer`, as FLARE's own inference script writes it; the
scorer joins them by `str(ImageName)||Question`, so both stand exactly as in the question file. `uid` is ours.
"""

import argparse
import json
from pathlib import Path

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import write_json
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table


def export_predictions(split: Path, predictions: Path, out: Path) -> None:
    """Write the predictions in the order of `split`; a row without one is left out, as no answer was given."""
    texts = {row["uid"]: row["text"] for row in read_table(predictions, PREDICTIONS).to_pylist()}
    records = [
        {
            "uid": row["uid"],
            "TaskType": row["task_raw"],
            "Modality": row["modality"],
            "ImageName": json.loads(row["image_name"]),
            "Question": row["question"],
            "Answer": texts[row["uid"]],
        }
        for row in read_table(split, ROWS).to_pylist()
        if row["uid"] in texts
    ]
    write_json(out, records)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--predictions", type=Path, required=True, help="Parquet of predictions")
    parser.add_argument("--out", type=Path, required=True, help="JSON to write")
    given = parser.parse_args()
    export_predictions(given.split, given.predictions, given.out)


if __name__ == "__main__":
    run_step(main)
