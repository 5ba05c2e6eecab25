"""Step: put the shards of a system together; each row of the split exactly once, in its order."""

from collections import Counter
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, read_table, write_rows


def gather(*, split: Path, shards: list[Path], system: str, out: Path) -> None:
    """Write the system's predictions from its shards in the order of the split.

    Shards of another number beside them are removed.

    Args:
        split: Parquet of rows.
        shards: Parquet files of the shards.
        system: name of the system; a shard may hold a shared-load group.
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
    write_rows(out, [by_uid[uid] for uid in uids], Prediction)
    for other in {*shards[0].parent.glob("*-of-*.parquet")} - {*shards}:
        other.unlink()


if __name__ == "__main__":
    run_step(gather)
