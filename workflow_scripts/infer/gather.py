"""Step: put the shards of a system together; each row of the split exactly once, in its order."""

import argparse
from collections import Counter
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table, write_table


def gather(split: Path, shards: list[Path], system: str, out: Path) -> None:
    """Write the system's predictions from `shards` in the order of `split`.

    Shards of another number beside them are removed.

    Raises:
        Refused: a row is missing, doubled, or not of this split.
    """
    wanted = read_table(split, ROWS)["uid"].to_pylist()
    found = [row for shard in shards for row in read_table(shard, PREDICTIONS).to_pylist()]
    found = [row for row in found if row["system"] == system]
    times = Counter(row["uid"] for row in found)
    wrong = [uid for uid in {*wanted, *times} if times[uid] != 1 or uid not in set(wanted)]
    if wrong:
        raise Refused(f"{out}: {len(wrong)} rows are not answered exactly once, {min(wrong)} among them")
    by_uid = {row["uid"]: row for row in found}
    write_table(out, [by_uid[uid] for uid in wanted], PREDICTIONS)
    for stranger in {*shards[0].parent.glob("*-of-*.parquet")} - {*shards}:
        stranger.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--shards", type=Path, nargs="+", required=True, help="Parquet files of the shards")
    parser.add_argument("--system", required=True, help="name of the system; a shard may hold a cohort")
    parser.add_argument("--out", type=Path, required=True, help="Parquet to write")
    given = parser.parse_args()
    gather(given.split, given.shards, given.system, given.out)


if __name__ == "__main__":
    run_step(main)
