"""Step: one split out of converted rows; no image and no case of it is in an evaluated split.

Rows without an answer are left out, and have no part in choosing the others, unless the split is only to be answered.

The whole groups of `data.case_groups` are chosen, so that no image and no case is on both sides of a holdout.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pydantic import TypeAdapter

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.datasets import Split
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tables import LEFT_OUT, ROWS, has_answer, read_table, write_table
from workflow_scripts.data.case_groups import Components, group_rows, positions, ties

COLUMNS = ("uid", "dataset", "folder", "task", "case_id", "images", "answer", "labels")
"""What choosing rows needs; the rest of the table is never turned into Python objects."""


class EmptySplit(BadFile):
    """A split selects no row."""


def select(rows: Sequence[dict], spec: Split) -> list[dict]:
    """The rows of a split, out of all rows of its dataset, in their order, before leaks are taken out.

    Groups and their places are those of the folder as a whole: `only` chooses among them and moves none.

    Raises:
        EmptySplit: nothing is left; the message says what there is.
    """
    pool = [row for row in rows if row["folder"] == spec.folder]
    if not pool:
        there = ", ".join(sorted({row["folder"] for row in rows})) or "none"
        raise EmptySplit(f"no row of {spec.dataset} is in folder {spec.folder!r}; folders there: {there}")
    if spec.only:
        unknown = sorted(set(spec.only) - {row["dataset"] for row in pool})
        if unknown:
            there = ", ".join(sorted({row["dataset"] for row in pool}))
            raise EmptySplit(f"no row of {', '.join(unknown)} is in folder {spec.folder!r}; data sets there: {there}")
    groups = group_rows(pool)
    places = positions(groups, spec.part.seed if spec.part else 0)
    start, stop = (spec.part.start, spec.part.stop) if spec.part else (0.0, 1.0)
    chosen: set[str] = set()
    for place, group in sorted(zip(places, groups, strict=True), key=lambda pair: (pair[0], pair[1][0]["uid"])):
        if not start <= place < stop:
            continue
        uids = {row["uid"] for row in group if not spec.only or row["dataset"] in spec.only}
        if spec.limit is None or len(chosen) + len(uids) <= spec.limit:
            chosen |= uids
    if not chosen:
        raise EmptySplit(f"the part or the limit leaves none of {len(pool)} rows of folder {spec.folder!r}; widen it")
    return [row for row in pool if row["uid"] in chosen]


def leaks(rows: Sequence[dict], protected: Sequence[dict]) -> list[dict]:
    """Rows that share an image or a case with `protected` ones, or hang together with a row that does.

    Returns:
        Rows of `core.tables.LEFT_OUT`.
    """
    there = {tie: row["uid"] for row in protected for tie in ties(row)}
    components = Components()
    for row in (*rows, *protected):
        components.join(ties(row))
    touched = {components.find(tie) for tie in there}
    left_out = []
    for row in rows:
        if components.find(("case", row["case_id"])) not in touched:
            continue
        shared = next((tie for tie in sorted(ties(row), reverse=True) if tie in there), None)  # image before case
        reason = "leaked_group" if shared is None else f"leaked_{shared[0]}"
        detail = "hangs together with a row that leaks" if shared is None else f"shared with {there[shared]}"
        left_out.append(_left_out(row, reason, detail))
    return left_out


def _left_out(row: dict, reason: str, detail: str) -> dict:
    return {"uid": row["uid"], "dataset": row["dataset"], "task": row["task"], "reason": reason, "detail": detail}


def unanswered(rows: Sequence[dict], spec: Split) -> list[dict]:
    """Rows of the split's folder and data sets that have no answer, whichever part they would be in.

    Returns:
        Rows of `core.tables.LEFT_OUT`.

    Raises:
        EmptySplit: none there has one.
    """
    pool = [row for row in rows if row["folder"] == spec.folder and (not spec.only or row["dataset"] in spec.only)]
    found = [_left_out(row, "no_answer", "the source gives no answer") for row in pool if not has_answer(row)]
    if found and len(found) == len(pool):
        raise EmptySplit(
            f"none of {len(pool)} rows of {spec.dataset} in folder {spec.folder!r} has an answer: the split can be "
            "neither trained on nor scored; name it in `submit` alone"
        )
    return found


def make_split(
    table: pa.Table, spec: Split, protected: Sequence[dict], keep_unanswered: bool = False
) -> tuple[pa.Table, list[dict]]:
    """The rows of `spec` without those that leak into `protected` ones, and the rows left out.

    Args:
        table: all rows of the split's dataset.
        protected: rows of evaluated splits, of this dataset or of others.
        keep_unanswered: rows without an answer stay; else they are left out before anything is chosen, so that
            keeping them in the table moves no other row.

    Raises:
        EmptySplit: no row is selected, none has an answer, or every one leaks.
    """
    rows = table.select(COLUMNS).to_pylist()
    without = [] if keep_unanswered else unanswered(rows, spec)
    chosen = select(rows if keep_unanswered else [row for row in rows if has_answer(row)], spec)
    left_out = leaks(chosen, protected)
    keep = {row["uid"] for row in chosen} - {entry["uid"] for entry in left_out}
    if not keep:
        raise EmptySplit(f"all {len(chosen)} rows share an image or a case with an evaluated split")
    mask = pa.array([uid in keep for uid in table["uid"].to_pylist()])
    return table.filter(mask), sorted(without + left_out, key=lambda entry: entry["uid"])


def main() -> None:
    """Parse the arguments, select, write."""
    splits = TypeAdapter(tuple[Split, ...])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=Path, required=True, help="rows.parquet of the split's dataset")
    parser.add_argument("--spec", type=Split.model_validate_json, required=True, help="JSON of the split")
    parser.add_argument("--protect", type=splits.validate_json, default=(), help="JSON list of the evaluated splits")
    parser.add_argument(
        "--protect-rows",
        type=named_path,
        action="append",
        default=[],
        help="NAME=rows.parquet of another dataset that an evaluated split is drawn from",
    )
    parser.add_argument(
        "--unanswered",
        choices=("leave-out", "keep"),
        default="leave-out",
        help="rows without an answer; keep: for a split that is neither trained on nor scored",
    )
    parser.add_argument("--out", type=Path, required=True, help="Parquet of the split's rows")
    parser.add_argument("--left-out", type=Path, required=True, help="Parquet of the rows left out, with the reason")
    a = parser.parse_args()
    table = read_table(a.rows, ROWS)
    tables = {a.spec.dataset: table} | {name: read_table(path, ROWS) for name, path in a.protect_rows}
    missing = sorted({other.dataset for other in a.protect} - set(tables))
    if missing:
        raise BadFile(f"no rows are given for dataset {missing[0]!r}; add --protect-rows {missing[0]}=FILE")
    answered = {name: list(filter(has_answer, t.select(COLUMNS).to_pylist())) for name, t in tables.items()}
    protected = [row for s in a.protect for row in select(answered[s.dataset], s)]
    rows, left_out = make_split(table, a.spec, protected, a.unanswered == "keep")
    write_table(a.left_out, left_out, LEFT_OUT)
    write_table(a.out, rows, ROWS)
    without = sum(entry["reason"] == "no_answer" for entry in left_out)
    said = f", {without} because they have no answer" if without else ""
    print(
        f"split: {len(rows)} rows, {len(left_out) - without} left out because they leak into an evaluated split{said}"
    )


def named_path(text: str) -> tuple[str, Path]:
    """`NAME=PATH` as an argument."""
    name, found, path = text.partition("=")
    if not (found and name and path):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=PATH")
    return name, Path(path)


if __name__ == "__main__":
    run_step(main)
