"""Step: the rows, quarantine, images and conventions of several converted datasets as those of one.

A row's uid, source file and image paths begin with its dataset's name; images stay where they are, below links. Cases
and subsets are called as they were, so that rows of one patient stay on one side of a split, whichever dataset they
came from. The group `dataset` says which it is, so that tables can tell them apart and a holdout can leave one out.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Convention, Group, ImageFacts, QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows, write_rows

DATASET = "dataset"
"""The group that names a row's dataset."""


def join(
    *,
    tables: tuple[str, ...],
    roots: tuple[str, ...],
    out: Path,
    rows: Path,
    quarantine: Path,
    images: Path,
    conventions: Path,
) -> str:
    """Join converted datasets.

    Args:
        tables: NAME=FOLDER of each dataset, which holds its rows.parquet, quarantine.parquet, images.parquet, …
        roots: NAME=FOLDER of each dataset, which its image paths start from
        out: root of the links to write
        rows: Parquet of the rows to write
        quarantine: Parquet of the quarantine to write
        images: Parquet to write: what is known of the images
        conventions: Parquet to write: how each subset writes its answers
    """
    folders, places = _named(tables, "--tables"), _named(roots, "--roots")
    if folders.keys() != places.keys():
        raise Refused(f"--roots names {', '.join(places) or 'none'}, and --tables {', '.join(folders) or 'none'}")
    of_rows = {name: read_rows(folder / "rows.parquet", Row) for name, folder in folders.items()}
    learned = {name: read_rows(folder / "conventions.parquet", Convention) for name, folder in folders.items()}
    _check_subsets(of_rows)
    _link(out, places)
    write_rows(
        quarantine,
        [
            replace(
                row,
                uid=None if row.uid is None else f"{name}/{row.uid}",
                source_file=f"{name}/{row.source_file}",
                images=tuple(f"{name}/{path}" for path in row.images),
            )
            for name, folder in folders.items()
            for row in read_rows(folder / "quarantine.parquet", QuarantinedRow)
        ],
        QuarantinedRow,
    )
    facts = {name: read_rows(folder / "images.parquet", ImageFacts) for name, folder in folders.items()}
    write_rows(
        images, [replace(f, path=f"{name}/{f.path}") for name, listed in facts.items() for f in listed], ImageFacts
    )
    write_rows(conventions, _conventions(learned), Convention)
    joined = [_moved(row, name) for name, listed in of_rows.items() for row in listed]
    write_rows(rows, joined, Row)
    return f"join: {len(joined)} rows of {', '.join(f'{name} ({len(listed)})' for name, listed in of_rows.items())}"


def _moved(row: Row, name: str) -> Row:
    return replace(
        row,
        uid=f"{name}/{row.uid}",
        source_file=f"{name}/{row.source_file}",
        images=tuple(image._replace(path=f"{name}/{image.path}") for image in row.images),
        groups=tuple(sorted({Group(DATASET, name), *(group for group in row.groups if group.name != DATASET)})),
    )


def _check_subsets(rows: Mapping[str, Sequence[Row]]) -> None:
    """Refuse a subset that is of two modalities in two datasets: tables would count them together.

    Raises:
        BadFile: there is one.
    """
    first: dict[str, tuple[str, str]] = {}
    for name, listed in rows.items():
        for subset, modality in sorted({(row.subset, row.modality) for row in listed}):
            other, earlier = first.setdefault(subset.casefold(), (name, modality))
            if earlier != modality:
                raise BadFile(f"{subset!r} is a subset of {earlier} in {other} and of {modality} in {name}: rename one")


def _conventions(learned: Mapping[str, Sequence[Convention]]) -> list[Convention]:
    """The conventions of all; of a subset that several datasets have, those that agree are one.

    Raises:
        BadFile: two datasets disagree about a subset that both have.
    """
    joined: dict[tuple[str, str, str, str], tuple[str, Convention]] = {}
    for name, listed in learned.items():
        for entry in listed:
            key = (entry.subset, entry.task, entry.field, entry.question)
            if key not in joined:
                joined[key] = name, entry
                continue
            other, earlier = joined[key]
            if earlier.value != entry.value and not entry.question:
                raise BadFile(
                    f"{entry.subset} writes {entry.field} of {entry.task} as {earlier.value} in {other} and as "
                    f"{entry.value} in {name}: set `policies.conventions` in both, or name the subset otherwise in one"
                )
            votes, count = earlier.votes + entry.votes, earlier.rows + entry.rows
            joined[key] = other, replace(earlier, votes=votes, rows=count)
    return [entry for _, entry in joined.values()]


def _link(out: Path, roots: Mapping[str, Path]) -> None:
    """A folder with a link to the root of each dataset."""
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, root in roots.items():
        (partial / name).symlink_to(os.path.abspath(root))  # noqa: PTH100 (links stay links)
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)


def _named(texts: Sequence[str], flag: str) -> dict[str, Path]:
    """`NAME=PATH` texts as paths by name."""
    named: dict[str, Path] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (equals and name and path) or name in named:
            raise Refused(f"{flag}: {text!r} is not NAME=PATH, or its name stands there twice")
        named[name] = Path(path)
    return named


if __name__ == "__main__":
    run_step(join)
