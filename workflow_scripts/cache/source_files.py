"""The files of a dataset that is prepared: which tables it means, and what a plan looks at to see whether they changed.

A table's images are those that the last look linked to, so that a plan lists no folder of images; zips of images count
as a whole. A file that was missing then stands in the record with an empty stamp, as one of the first folder of images:
it has changed once it is in any of them.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from workflow_scripts.cache.folders import identity_of_files, read_seen
from workflow_scripts.cache.private_files import identity_of_private, stamps_of
from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.core.config.sources.entry import DatasetEntry
from workflow_scripts.core.config.sources.nifti import NIFTI_ENDINGS, NiftiDataset
from workflow_scripts.core.config.sources.series import SignalsDataset
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.manifest import Stamp, stamps_below

TABLE_ENDINGS = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet")
"""Endings of the names of tables, in lower case; all but Parquet may be packed (`.gz`)."""

MISSING = Stamp(0, 0, 0)
"""The stamp of a file that a row names and that is not there."""


def is_table_name(name: str) -> bool:
    """Whether a file of this name may be a table."""
    return name.lower().removesuffix(".gz").endswith(TABLE_ENDINGS)


def table_files(spec: TableDataset, root: Path, pattern: str | None = None) -> list[tuple[Path, str | None]]:
    """The tables of an entry with the split folder that the configuration gives each, those of `training` first.

    Args:
        root: the table, or the folder that holds it.
        pattern: of the one file to find instead, as `join` names it.

    Raises:
        BadFile: there is none, or `pattern` fits several.
    """
    if pattern is not None:
        matching = _matching(root if root.is_dir() else root.parent, [pattern])
        if len(matching) != 1:
            raise BadFile(f"{root}: {pattern!r} of `join` fits {len(matching)} files; expected one")
        return [(matching[0], None)]
    if root.is_file():
        return [(root, None)]
    if not root.is_dir():
        raise BadFile(f"{root} does not exist; give the table, or the folder that holds it")
    listed: list[tuple[Path, str | None]]
    if isinstance(spec.files, dict):
        listed = [(path, folder) for folder, patterns in spec.files.items() for path in _matching(root, patterns)]
    else:
        listed = [(path, None) for path in _matching(root, spec.files or [f"*{ending}" for ending in _endings()])]
    if not listed:
        patterns = spec.files or ("*.csv, *.jsonl, *.parquet, …",)
        raise BadFile(f"{root} holds no table that fits {', '.join(_flat(patterns))}; name the tables under `files`")
    paths = [path for path, _ in listed]
    if doubled := next((path for path in paths if paths.count(path) > 1), None):
        raise BadFile(f"{doubled} fits the patterns of two split folders; `files` must name it once")
    return sorted(listed, key=lambda pair: (pair[1] != "training", str(pair[0])))


def _endings() -> list[str]:
    return [*TABLE_ENDINGS, *(f"{ending}.gz" for ending in TABLE_ENDINGS)]


def _flat(patterns: Sequence[str] | dict[str, tuple[str, ...]]) -> list[str]:
    if isinstance(patterns, dict):
        return [pattern for listed in patterns.values() for pattern in listed]
    return list(patterns)


def _matching(root: Path, patterns: Iterable[str]) -> list[Path]:
    """Tables below `root` that one of the patterns fits, hidden ones left out, sorted."""
    fitting = {path for pattern in patterns for path in root.glob(pattern) if is_table_name(path.name)}
    visible = (path for path in fitting if not any(part.startswith(".") for part in path.relative_to(root).parts))
    return sorted(path for path in visible if path.is_file())


def further_files(spec: TableDataset, root: Path) -> list[Path]:
    """Files that an entry reads besides its tables: those of `join`, and `lists`."""
    joined = [path for table in spec.join for path, _ in table_files(spec, root, table.files)]
    folder = root if root.is_dir() else root.parent
    return [*joined, *(folder / name for name in spec.lists.values())]


def image_places(patterns: Sequence[str], folder: Path) -> Iterator[Path]:
    """The folders and zips that the patterns of `images_in` fit, in their order.

    Args:
        patterns: absolute, or from `folder`, which an empty one means.
        folder: the source's.
    """
    for pattern in patterns:
        place = Path(pattern).expanduser()
        if not pattern:
            yield folder
        elif place.is_absolute():
            yield from [place] if place.is_dir() or place.is_file() else []
        else:
            yield from sorted(place for place in folder.glob(pattern) if place.is_dir() or place.suffix == ".zip")


def stamp_of(path: str | Path) -> Stamp:
    """Size and times of a file; `MISSING` where there is none, or something else."""
    try:
        status = os.stat(path)  # noqa: PTH116 (a plan stamps tens of thousands)
    except (OSError, ValueError):
        return MISSING
    if not stat.S_ISREG(status.st_mode):
        return MISSING
    return Stamp.of(status)


def key_of(path: str | Path, root: Path) -> str:
    """What a file is called in the record: its path below the source's folder, or its whole path."""
    folder = f"{os.path.abspath(root if root.is_dir() else root.parent)}/"  # noqa: PTH100
    return os.path.abspath(path).removeprefix(folder)  # noqa: PTH100


def keys_of_images(paths: Iterable[str], root: Path) -> dict[str, str]:
    """`key_of` each absolute path, by path."""
    folder = f"{os.path.abspath(root if root.is_dir() else root.parent)}/"  # noqa: PTH100
    return {path: path.removeprefix(folder) for path in paths}


def stamps_of_source(entry: DatasetEntry, root: Path, record: Path | None = None) -> dict[str, Stamp]:
    """Size and times of the tables of a source, of its zips, and of the images that the look of `record` linked to.

    Of a kind that is no table, as one that is added may be, everything below `root`.

    Raises:
        BadFile: the source does not exist, or has no table.
    """
    if not isinstance(entry, TableDataset):
        if not root.exists():
            raise BadFile(f"{root} does not exist; give the folder")
        return stamps_below(root) if root.is_dir() else {root.name: stamp_of(root)}
    folder = root if root.is_dir() else root.parent
    tables = [path for path, _ in table_files(entry, root)] + further_files(entry, root)
    places = list(image_places(entry.images_in, folder))
    zips, folders = ([place for place in places if place.is_dir() is wanted] for wanted in (False, True))
    stamps = {key_of(path, root): stamp_of(path) for path in (*tables, *zips)}
    if isinstance(entry, NiftiDataset):  # a volume that no row names counts, too
        stamps |= _volumes(folders, root)
    if record is not None and (seen := read_seen(record)) is not None:
        beside = [f"{os.path.abspath(place)}/" for place in folders]  # noqa: PTH100
        for path, before in seen.stamps.items():
            if path not in stamps and not is_table_name(path):
                now = stamp_of(os.path.join(folder, path))  # noqa: PTH118
                if now != MISSING or before == MISSING:  # what is no longer there is left out: it counts as gone
                    stamps[path] = now
                if now == before == MISSING and len(beside) > 1:
                    stamps |= _elsewhere(os.path.abspath(os.path.join(folder, path)), beside, root)  # noqa: PTH100, PTH118
    return dict(sorted(stamps.items()))


def _elsewhere(missing: str, folders: Sequence[str], root: Path) -> dict[str, Stamp]:
    """Stamps of the files that have a missing one's path in another of the folders, each of which ends with a slash."""
    first = next((folder for folder in folders if missing.startswith(folder)), None)
    files = [folder + missing.removeprefix(first) for folder in folders] if first is not None else []
    return {key_of(file, root): stamp for file in files if (stamp := stamp_of(file)) != MISSING}


def _volumes(folders: Iterable[Path], root: Path) -> dict[str, Stamp]:
    """Size and times of all volumes below `folders`."""
    stamps: dict[str, Stamp] = {}
    for folder in folders:
        below = stamps_below(folder, lambda name: name.lower().endswith(NIFTI_ENDINGS))
        stamps |= {key_of(folder / path, root): stamp for path, stamp in below.items()}
    return stamps


def identity_of_source(entry: DatasetEntry, root: Path, record: Path) -> str:
    """For a plan: text that changes exactly when the source's content is no longer what the look at `record` saw.

    Raises:
        BadFile: the source does not exist, or has no table.
    """
    if is_private(entry):
        return identity_of_private(private_files(entry, root), record)
    folder = root if root.is_dir() else root.parent
    return identity_of_files(folder, record, stamps_of_source(entry, root, record))


def is_private(entry: DatasetEntry) -> bool:
    """Whether files of a source may be called after patients, so that what is recorded of them is digests alone."""
    return isinstance(entry, DicomDataset) or (isinstance(entry, SignalsDataset) and entry.reads_files)


def private_files(entry: DatasetEntry, root: Path) -> dict[str, tuple[Path, Stamp]]:
    """Place and stamp of each file of a folder whose names may be patients', and of the tables beside it.

    Raises:
        BadFile: the folder or the table does not exist.
    """
    if isinstance(entry, SignalsDataset):
        return _signal_files(entry, root)
    assert isinstance(entry, DicomDataset)
    if not root.is_dir():
        raise BadFile(f"{root} is not a directory; give the folder of the DICOM files")
    table = Path(str(entry.questions.path)).expanduser()
    tables = [path for path, _ in table_files(entry.questions, table)] + further_files(entry.questions, table)
    files = {path: (root / path, stamp) for path, stamp in stamps_of(root).items()}
    return files | {f"table {number}": (path, stamp_of(path)) for number, path in enumerate(tables)}


def _signal_files(entry: SignalsDataset, root: Path) -> dict[str, tuple[Path, Stamp]]:
    """The tables of signals, and every file below the folders in which their series may lie."""
    tables = [path for path, _ in table_files(entry, root)] + further_files(entry, root)
    files = {f"table {number}": (path, stamp_of(path)) for number, path in enumerate(tables)}
    for number, place in enumerate(image_places(entry.images_in, root if root.is_dir() else root.parent)):
        below = stamps_of(place) if place.is_dir() else {"": stamp_of(place)}
        before = f"{number}/" if number else ""  # the names of two folders may be equal
        files |= {f"{before}{path}" or place.name: (place / path, stamp) for path, stamp in below.items()}
    return files
