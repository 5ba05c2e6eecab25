"""Step: one split out of converted rows; no image and no case of it is in an evaluated split.

The whole groups of `data.case_groups` are chosen, so that no image and no case is on both sides of a holdout. Rows
without an answer are left out, and have no part in choosing the others, unless the split is only to be answered.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import RootModel

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.datasets import Split
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ImageFacts, LeftOutRow, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.data.case_groups import Pixels, components, group_rows, pixels_of, positions, ties


class Splits(RootModel[tuple[Split, ...]]):
    """A list of splits, as JSON."""


NO_SPLITS = Splits(())


class EmptySplit(BadFile):
    """A split selects no row."""


def select(rows: Sequence[Row], spec: Split, pixels: Pixels) -> list[Row]:
    """The rows of a split, out of all rows of its dataset, in their order, before leaks are taken out.

    Groups and their places are those of the folder as a whole: `only`, `exclude`, `tasks`, `where` and `where_not`
    choose among them and move none.

    Raises:
        EmptySplit: nothing is left; the message says what there is.
    """
    pool = [row for row in rows if row.folder == spec.folder]
    if not pool:
        raise EmptySplit(f"no row of {spec.dataset} is in folder {spec.folder!r}; {_other_folders(rows)}")
    if unknown := sorted({*spec.only, *spec.exclude} - {row.subset for row in pool}):
        present = ", ".join(sorted({row.subset for row in pool}))
        raise EmptySplit(f"no row of {', '.join(unknown)} is in folder {spec.folder!r}; subsets there: {present}")
    if absent := sorted(set(spec.tasks) - {row.task for row in pool}):
        present = ", ".join(sorted({row.task for row in pool}))
        raise EmptySplit(f"no {', '.join(absent)} row is in folder {spec.folder!r}; tasks there: {present}")
    _check_values(pool, spec)
    groups = group_rows(pool, pixels)
    places = positions(groups, spec.part.seed if spec.part else 0)
    start, stop = (spec.part.start, spec.part.stop) if spec.part else (0.0, 1.0)
    chosen: set[str] = set()
    for place, group in sorted(zip(places, groups, strict=True), key=lambda pair: (pair[0], pair[1][0].uid)):
        if not start <= place < stop:
            continue
        uids = {row.uid for row in group if spec.keeps(row.subset, row.task, dict(row.groups))}
        if spec.limit is None or len(chosen) + len(uids) <= spec.limit:
            chosen |= uids
    if not chosen:
        raise EmptySplit(f"the part or the limit leaves none of {len(pool)} rows of folder {spec.folder!r}; widen it")
    return [row for row in pool if row.uid in chosen]


def _other_folders(rows: Sequence[Row]) -> str:
    """What a dataset has beside an empty folder, and what to do about it."""
    if not rows:
        return "it has no rows at all: the last lines of data.convert and the page of the audit say why"
    present = ", ".join(sorted({row.folder for row in rows}))
    return (
        f"folders there: {present}. Name another `folder`, draw a `part` of one, or let the dataset's entry say which "
        "rows belong here (`split` or `files` of a table)"
    )


def _check_values(pool: Sequence[Row], spec: Split) -> None:
    """Raises EmptySplit where `where` or `where_not` names a value that no row of the folder bears."""
    for name, values in (*spec.where.items(), *spec.where_not.items()):
        there = sorted({group.value for row in pool for group in row.groups if group.name == name})
        if unknown := sorted({*values} - {*there}):
            listed = ", ".join(map(repr, there[:20])) + (", …" if len(there) > 20 else "")
            raise EmptySplit(
                f"no row of {spec.dataset} in folder {spec.folder!r} has {name} {unknown[0]!r}; "
                f"{f'values there: {listed}' if there else f'no row there states {name!r} at all'}"
            )


def leaks(rows: Sequence[Row], protected: Sequence[Row], pixels: Pixels) -> list[LeftOutRow]:
    """Rows that share an image or a case with `protected` ones, or hang together with a row that does."""
    owners = {tie: row.uid for row in protected for tie in ties(row, pixels)}
    component = components([*rows, *protected], pixels)
    touched = {component[tie] for tie in owners}
    left_out = []
    for row in rows:
        if component["case", row.case_id] not in touched:
            continue
        shared = next(
            (tie for tie in sorted(ties(row, pixels), reverse=True) if tie in owners), None
        )  # image before case
        reason = "leaked_group" if shared is None else f"leaked_{shared[0]}"
        detail = "hangs together with a row that leaks" if shared is None else f"shared with {owners[shared]}"
        left_out.append(LeftOutRow(row.uid, row.subset, row.task, reason, detail))
    return left_out


def unanswered(rows: Sequence[Row], spec: Split) -> list[LeftOutRow]:
    """Rows of the split's folder and subsets that have no answer, whichever part they would be in.

    Raises:
        EmptySplit: none there has one.
    """
    pool = [row for row in rows if row.folder == spec.folder and spec.keeps(row.subset, row.task, dict(row.groups))]
    without = [row for row in pool if not row.has_answer]
    if without and len(without) == len(pool):
        raise EmptySplit(
            f"none of {len(pool)} rows of {spec.dataset} in folder {spec.folder!r} has an answer: the split can be "
            "neither trained on nor scored; name it in `submit` alone"
        )
    return [LeftOutRow(row.uid, row.subset, row.task, "no_answer", "the source gives no answer") for row in without]


def split_rows(
    rows: Sequence[Row], spec: Split, protected: Sequence[Row], pixels: Pixels, keep_unanswered: bool = False
) -> tuple[list[Row], list[LeftOutRow]]:
    """The rows of `spec` without those that leak into `protected` ones, and the rows left out, by uid.

    Args:
        rows: all rows of the split's dataset.
        protected: rows of evaluated splits, of this dataset or of others.
        pixels: of the images of all of them.
        keep_unanswered: rows without an answer stay; else they are left out before anything is chosen, so that
            keeping them in the dataset moves no other row.

    Raises:
        EmptySplit: no row is selected, none has an answer, or every one leaks.
    """
    without = [] if keep_unanswered else unanswered(rows, spec)
    chosen = select(rows if keep_unanswered else [row for row in rows if row.has_answer], spec, pixels)
    leaking = leaks(chosen, protected, pixels)
    uids = {row.uid for row in chosen} - {entry.uid for entry in leaking}
    if not uids:
        raise EmptySplit(f"all {len(chosen)} rows share an image or a case with an evaluated split")
    return [row for row in chosen if row.uid in uids], sorted(without + leaking, key=lambda entry: entry.uid)


def split(
    *,
    rows: Path,
    images: list[Path],
    spec: Split,
    out: Path,
    left_out: Path,
    protect: Splits = NO_SPLITS,
    protect_rows: tuple[str, ...] = (),
    unanswered: Literal["leave-out", "keep"] = "leave-out",
) -> str:
    """Select the rows of one split.

    Args:
        rows: rows.parquet of the split's dataset
        images: images.parquet of the split's dataset, and of those of `protect_rows`
        spec: the split's entry in the configuration
        out: Parquet to write: the split's rows
        left_out: Parquet to write: the rows left out, with the reason
        protect: JSON list of the evaluated splits, whose images and cases the split must not share
        protect_rows: NAME=FILE, rows.parquet of another dataset that an evaluated split is drawn from
        unanswered: rows without an answer; keep: for a split that is neither trained on nor scored
    """
    by_dataset = {spec.dataset: read_rows(rows, Row)}
    by_dataset |= {name: read_rows(path, Row) for name, path in map(_named_path, protect_rows)}
    missing = sorted({other.dataset for other in protect.root} - set(by_dataset))
    if missing:
        raise BadFile(f"no rows are given for dataset {missing[0]!r}; add --protect-rows {missing[0]}=FILE")
    answered = {name: [row for row in listed if row.has_answer] for name, listed in by_dataset.items()}
    pixels = pixels_of(image for path in images for image in read_rows(path, ImageFacts))
    protected = [row for other in protect.root for row in select(answered[other.dataset], other, pixels)]
    selected, excluded = split_rows(by_dataset[spec.dataset], spec, protected, pixels, unanswered == "keep")
    write_rows(left_out, excluded, LeftOutRow)
    write_rows(out, selected, Row)
    without = sum(entry.reason == "no_answer" for entry in excluded)
    remark = f", {without} because they have no answer" if without else ""
    return (
        f"split: {len(selected)} rows, {len(excluded) - without} left out because they leak into an evaluated split"
        f"{remark}"
    )


def _named_path(text: str) -> tuple[str, Path]:
    """`NAME=PATH` as a name and a path."""
    name, equals, path = text.partition("=")
    if not (equals and name and path):
        raise Refused(f"--protect-rows: {text!r} is not NAME=PATH")
    return name, Path(path)


if __name__ == "__main__":
    run_step(split)
