"""Step: put the shards of a system that answers each row several times together, with the answer that counts."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import DATASETS_FORM, BoxForm
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part
from workflow_scripts.infer.shards import remove_other_shards
from workflow_scripts.models.record import read_record
from workflow_scripts.tasks.boxes.model_reading import carried_prediction
from workflow_scripts.tasks.boxes.model_sizes import model_boxes
from workflow_scripts.tasks.consensus import consensus_of


def write_consensus(
    *,
    split: Path,
    shards: list[Path],
    system: str,
    draws: int,
    boxes: BoxForm = DATASETS_FORM,
    record: Path | None = None,
    out: Path,
) -> None:
    """Write the system's predictions in the order of the split: of each row the answer that counts, and all as samples.

    Answers are read here, and not where they are generated, so that mending how asks no model again.

    Args:
        split: Parquet of rows.
        shards: Parquet files of the shards.
        system: name of the system; a shard may hold a shared-load group.
        draws: answers to each row.
        boxes: JSON of the form of boxes that the model is asked for; by default the dataset's.
        record: of the model, where its files say how images are resized.
        out: Parquet of predictions to write.

    Raises:
        Refused: a row is missing, not of this split, or has another number of answers.
    """
    rows = read_rows(split, Row)
    answers: dict[str, list[Prediction]] = {row.uid: [] for row in rows}
    strange: set[str] = set()
    for shard in shards:
        for answer in read_rows(shard, Prediction):
            if answer.system == system and answer.uid in answers:
                answers[answer.uid].append(answer)
            elif answer.system == system:
                strange.add(answer.uid)
    if wrong := strange | {uid for uid, drawn in answers.items() if len(drawn) != draws}:
        raise Refused(f"{out}: {len(wrong)} rows are not answered exactly {draws} times, {min(wrong)} among them")
    form = model_boxes(boxes, None if record is None else read_record(record)[1])
    if form is not None:
        answers = {row.uid: [carried_prediction(row, answer, form) for answer in answers[row.uid]] for row in rows}
    write_rows(out, [_consensus(row, answers[row.uid]) for row in rows], Prediction)
    remove_other_shards(shards)


def _consensus(row: Row, answers: Sequence[Prediction]) -> Prediction:
    """The prediction of a row from its answers."""
    texts = tuple(answer.text for answer in answers)
    return replace(answers[consensus_of(load_part(row.task, "reading"), row.expected, texts)], samples=texts)


if __name__ == "__main__":
    run_step(write_consensus)
