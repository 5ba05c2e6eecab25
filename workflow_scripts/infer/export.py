"""Step: a system's predictions as the challenge's `predictions.json`.

A list of the question files' records with the prediction in `Answer`, as FLARE's own inference script writes it; the
scorer joins them by `str(ImageName)||Question`, so both stand exactly as in the question file. `uid` is ours.
"""

import json
from pathlib import Path

from workflow_scripts.core.answers import final_answer
from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import write_json
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows


def export(*, split: Path, predictions: Path, out: Path) -> None:
    """Write the predictions in the order of the split; a row without one is left out, as no answer was given.

    Args:
        split: Parquet of rows.
        predictions: Parquet of predictions.
        out: JSON to write.
    """
    texts = {row.uid: final_answer(row.text).text for row in read_rows(predictions, Prediction)}
    records = [
        {
            "uid": row.uid,
            "TaskType": row.task_raw,
            "Modality": row.modality,
            "ImageName": json.loads(row.image_name),
            "Question": row.question,
            "Answer": texts[row.uid],
        }
        for row in read_rows(split, Row)
        if row.uid in texts
    ]
    write_json(out, records)


if __name__ == "__main__":
    run_step(export)
