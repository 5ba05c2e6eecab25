"""Step: put the shards of a system together; each row of the split exactly once, in its order."""

from collections import Counter
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.models import DATASETS_FORM, BoxForm
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, read_table, write_rows
from workflow_scripts.infer.shards import remove_other_shards
from workflow_scripts.models.record import read_record
from workflow_scripts.tasks.boxes.model_reading import carried_prediction
from workflow_scripts.tasks.boxes.model_sizes import model_boxes


def gather(
    *,
    split: Path,
    shards: list[Path],
    system: str,
    boxes: BoxForm = DATASETS_FORM,
    record: Path | None = None,
    out: Path,
) -> None:
    """Write the system's predictions from its shards in the order of the split.

    Boxes in the model's own form are carried back to the rows' here, and not where answers are generated, so that
    mending that asks no model again. Shards of another number beside them are removed.

    Args:
        split: Parquet of rows.
        shards: Parquet files of the shards.
        system: name of the system; a shard may hold a shared-load group.
        boxes: JSON of the form of boxes that the model is asked for; by default the dataset's.
        record: of the model, where its files say how images are resized.
        out: Parquet of predictions to write.

    Raises:
        Refused: a row is missing, doubled, or not of this split.
    """
    uids = read_table(split, Row)["uid"].to_pylist()
    predictions = [row for shard in shards for row in read_rows(shard, Prediction) if row.system == system]
    times, wanted = Counter(row.uid for row in predictions), set(uids)
    wrong = [uid for uid in {*wanted, *times} if times[uid] != 1 or uid not in wanted]
    if wrong:
        raise Refused(f"{out}: {len(wrong)} rows are not answered exactly once, {min(wrong)} among them")
    by_uid = {row.uid: row for row in predictions}
    form = model_boxes(boxes, None if record is None else read_record(record)[1])
    if form is not None:
        for row in read_rows(split, Row):
            by_uid[row.uid] = carried_prediction(row, by_uid[row.uid], form)
    write_rows(out, [by_uid[uid] for uid in uids], Prediction)
    remove_other_shards(shards)


if __name__ == "__main__":
    run_step(gather)
