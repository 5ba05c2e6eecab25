"""Step: a FLARE-shaped dataset to rows and quarantine; every record of every question file is in one of them.

Converted subset folders are cached under a key of their content: only those that changed are converted again.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from workflow_scripts.cache import fingerprints
from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import EntryStore
from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.sources.entry import Policies, SubsetConventions
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.images import DECODERS
from workflow_scripts.core.manifest import SPLIT_FOLDERS, FileEntry, is_image_name, read_manifest
from workflow_scripts.core.rows import Convention, ImageFacts, QuarantinedRow, Row
from workflow_scripts.core.tables import (
    read_table,
    rows_of,
    schema_of,
    table_of,
    without_collection,
    write_rows,
    write_table,
)
from workflow_scripts.data.conversion.conventions import by_task, learn_conventions
from workflow_scripts.data.conversion.images import Index, Readings, index_images
from workflow_scripts.data.conversion.probes import unpacked
from workflow_scripts.data.conversion.process_pool import ProcessPool
from workflow_scripts.data.conversion.question_files import (
    PARTS,
    BadQuestions,
    QuestionFile,
    misplaced_files,
    question_files,
    read_rows,
)
from workflow_scripts.data.conversion.rows import Part, build_part, named_images, quarantined, unique_paths

ROWS_FILE, QUARANTINE_FILE, IMAGES_FILE = "rows.parquet", "quarantine.parquet", "images.parquet"
FILES: dict[str, type] = {ROWS_FILE: Row, QUARANTINE_FILE: QuarantinedRow, IMAGES_FILE: ImageFacts}
"""Of each converted subset folder, and what their tables hold."""

WORTH_A_POOL = 2000
"""Images from which on further processes pay; how many a zip holds is not known before."""

Records = dict[QuestionFile, list[object]]


@dataclass(frozen=True)
class Counts:
    """What came of a dataset. `records` is `rows + quarantined`; `files` are question files that are not read."""

    records: int
    rows: int
    quarantined: int
    files: int
    converted: int  # subset folders
    cached: int  # subset folders


@dataclass(frozen=True)
class Converted:
    """A converted dataset."""

    rows: pa.Table
    quarantine: pa.Table
    images: pa.Table
    conventions: list[Convention]
    counts: Counts


def convert_dataset(root: Path, manifest: Path, policies: Policies, workdir: Path, jobs: int) -> Converted:
    """Convert the dataset at `root` as its manifest describes it.

    Args:
        root: folder of the split folders; only read.
        manifest: the dataset's manifest.
        policies: what to do with defects.
        workdir: where converted subset folders are cached.
        jobs: processes that read images and type rows.

    Raises:
        BadFile: there is no question file, or an image is not what the manifest says.
    """
    files = read_manifest(manifest)
    many = sum(map(is_image_name, files)) > WORTH_A_POOL or any(path.lower().endswith(".zip") for path in files)
    with ProcessPool(jobs if many else 1, forked=True) as pool:
        return _converted(root, files, policies, workdir, pool)


def _converted(
    root: Path, files: Mapping[str, FileEntry], policies: Policies, workdir: Path, pool: ProcessPool
) -> Converted:
    """`convert_dataset` for the files of a manifest."""
    questions = question_files(files)
    _check_names(questions)
    sources: dict[str, list[QuestionFile]] = {folder: [] for folder in _folders_to_report(files)}
    for file in questions:
        sources.setdefault(file.subset_folder, []).append(file)
    paths = _paths_by_folder(files, sources)
    cache = EntryStore(workdir)
    readings = Readings(root, policies.deep_images, pool)
    faults: dict[str, QuarantinedRow] = {}
    conventions: dict[str, list[Convention]] = {}
    keys: dict[str, str] = {}
    entries: dict[str, Path | None] = {}
    indexes: dict[str, Index] = {}  # of folders that are converted
    count = 0
    # Images of a subset are read by other processes while this one reads the questions of the next.
    for subset, folders in tqdm(_by_subset(sources).items(), desc="read questions", unit="subset", mininterval=1):
        records: dict[str, Records] = {folder: {} for folder in folders}
        for folder in folders:
            for file in sources[folder]:
                try:
                    records[folder][file] = read_rows(root, file)
                except BadQuestions as error:
                    detail = f"{file.path} {error}"
                    faults[file.path] = quarantined(file, None, error.reason, detail, "", [])
            sources[folder] = list(records[folder])
        of_subset = {file: rows for listed in records.values() for file, rows in listed.items()}
        settings = policies.conventions.get(subset, SubsetConventions())
        conventions[subset] = learn_conventions(of_subset, settings, subset)
        for folder in folders:
            keys[folder] = _key(paths[folder], files, conventions[subset], policies)
            entries[folder] = cache.get(keys[folder])
            if entries[folder] is None:
                indexes[folder] = index_images(root, folder, paths[folder])
                needed = _needed(records[folder], indexes[folder])
                readings.add(folder, needed, [files[path]["sha256"] if path in files else "" for path in needed])
        count += sum(map(len, of_subset.values()))
    packed = readings.results()
    # Those with the longest questions first: no process is left alone with them at the end.
    stale = sorted(indexes, key=lambda folder: -sum(files[file.path]["size"] for file in sources[folder]))
    work = [
        (root, sources[folder], [path for path in paths[folder] if not is_image_name(path)], indexes[folder])
        + (packed.get(folder, []), conventions[_subset(folder)], policies, workdir, keys[folder])
        for folder in stale
    ]
    tables = {folder: _tables(place) for folder, place in entries.items() if place is not None}
    converted = tqdm(pool.each(_convert_folder, work), desc="type rows", total=len(work), mininterval=1)
    for folder, _ in zip(stale, converted, strict=True):  # tables are read while others are made
        tables[folder] = _tables(cache.get(keys[folder]))
    rows, quarantine, facts = (
        pa.concat_tables([schema_of(kind).empty_table(), *(tables[folder][name] for folder in sources)])
        for name, kind in FILES.items()
    )
    unreadable = _misplaced(root, [path for path in files if path.count("/") < PARTS - 1], [])
    unreadable += [faults[path] for path in sorted(faults)]
    quarantine = pa.concat_tables([quarantine, table_of(unreadable, QuarantinedRow)])
    not_read = quarantine["source_row"].null_count
    if not questions:
        raise BadFile(_without_questions(root, rows_of(quarantine, QuarantinedRow)))
    counts = Counts(count, len(rows), len(quarantine) - not_read, not_read, len(stale), len(sources) - len(stale))
    if counts.rows + counts.quarantined != counts.records:
        raise AssertionError(f"rows were lost: {counts}")
    return Converted(rows, quarantine, facts, [entry for listed in conventions.values() for entry in listed], counts)


def _reasons(quarantine: pa.Table) -> str:
    """How many records are in quarantine for which reason, the most frequent first, in brackets; else empty."""
    of_records = quarantine.filter(pc.is_valid(quarantine["source_row"]))
    counts = Counter(of_records["reason"].to_pylist()).most_common()
    return f" ({', '.join(f'{count} {reason}' for reason, count in counts)})" if counts else ""


def _folders_to_report(files: Iterable[str]) -> list[str]:
    """Subset folders with files that may hold questions where none are read: zips, and other names than `*.json`."""
    parts = [path.split("/") for path in files]
    return sorted(
        {
            "/".join(names[: PARTS - 1])
            for names in parts
            if len(names) >= PARTS and names[0] in SPLIT_FOLDERS and not is_image_name(names[-1])
        }
    )


def _misplaced(root: Path, paths: Iterable[str], zipped: Iterable[str]) -> list[QuarantinedRow]:
    """The quarantine of question files that lie where none are read; see `misplaced_files`."""
    entries = []
    for path, detail in misplaced_files(root, paths, zipped).items():
        parts = path.split("/")
        subset = parts[PARTS - 2] if len(parts) >= PARTS else ""
        folder = SPLIT_FOLDERS.get(parts[0], parts[0])
        entries.append(
            QuarantinedRow(path, None, subset, "misplaced_file", f"{path} {detail}", "", None, folder, images=())
        )
    return entries


def _without_questions(root: Path, quarantine: Sequence[QuarantinedRow]) -> str:
    expected = "{training,validation-public,…}/<Modality>/<subset>/*.json"
    misplaced = f"; {quarantine[0].detail}" if quarantine else ""
    return f"{root} holds no question file; expected {expected}{misplaced}"


RESERVED = ("macro", "pooled")
"""Names that stand for all subsets together in tables."""


def _check_names(questions: Sequence[QuestionFile]) -> None:
    """Refuse names under which rows of different places would be counted together.

    Raises:
        BadFile: a subset bears a reserved name or lies in two modality folders, or a split folder has two spellings.
    """
    modality: dict[str, str] = {}
    spelling: dict[str, str] = {}
    for file in questions:
        place = file.subset_folder
        if file.subset.casefold() in RESERVED:
            raise BadFile(f"{place}: a subset cannot be called {file.subset!r}, which tables use; rename the folder")
        first = modality.setdefault(file.subset.casefold(), place)
        if first.split("/")[1:] != place.split("/")[1:]:
            raise BadFile(f"{first} and {place} are two subsets of one name: rename one, or their rows would be merged")
        written = place.split("/")[0]
        first_spelling = spelling.setdefault(f"{file.folder}/{file.subset.casefold()}", written)
        if first_spelling != written:
            raise BadFile(
                f"{first_spelling} and {written} are one split folder of {file.subset}: move its files into one"
            )


def _convert_folder(
    root: Path,
    files: Sequence[QuestionFile],
    paths: Sequence[str],
    index: Index,
    packed: Sequence[str],
    conventions: Sequence[Convention],
    policies: Policies,
    workdir: Path,
    key: str,
) -> None:
    """Type the rows of one subset's folder and cache them."""
    with without_collection():
        probes = unpacked(packed)
        part = Part({file: read_rows(root, file) for file in files})
        build_part(part, index, probes, by_task(conventions), policies)
    quarantine = part.quarantine + _misplaced(root, paths, index.zipped_questions)
    facts = [probe.facts for probe in probes.values() if probe.facts is not None]
    with EntryStore(workdir).put(key, {"files": [file.path for file in files]}) as folder:
        write_rows(folder / ROWS_FILE, part.rows, Row)
        write_rows(folder / QUARANTINE_FILE, quarantine, QuarantinedRow)
        write_rows(folder / IMAGES_FILE, facts, ImageFacts)


def _key(
    paths: Iterable[str],
    files: Mapping[str, Mapping[str, object]],
    conventions: Sequence[Convention],
    policies: Policies,
) -> str:
    """Changes with anything that the rows of a subset's folder depend on, its code included."""
    return cache_key(
        "converted subset folder",
        code=fingerprints.identity("workflow_scripts.data.convert"),
        decoders=DECODERS,
        policies=policies.spec(),
        conventions=[[entry.task, entry.field, entry.question, entry.value, entry.source] for entry in conventions],
        files={path: files[path]["sha256"] for path in paths},
    )


def _subset(folder: str) -> str:
    return folder.split("/")[2]


def _by_subset(folders: Iterable[str]) -> dict[str, list[str]]:
    """The folders of each subset: it writes alike in all of them."""
    by_subset: dict[str, list[str]] = {}
    for folder in folders:
        by_subset.setdefault(_subset(folder), []).append(folder)
    return by_subset


def _paths_by_folder(files: Iterable[str], folders: Iterable[str]) -> dict[str, list[str]]:
    paths: dict[str, list[str]] = {folder: [] for folder in folders}
    for path in files:
        folder = "/".join(path.split("/", 3)[:3])
        if folder in paths:
            paths[folder].append(path)
    return paths


def _needed(files: Records, index: Index) -> list[str]:
    """The images that the rows of one folder name."""
    names = {name for records in files.values() for record in records for name in named_images(record)}
    return sorted(set(unique_paths(names, index)))


def _tables(place: Path | None) -> dict[str, pa.Table]:
    """The tables of a converted subset folder, by the names of their files."""
    if place is None:
        raise AssertionError("a subset folder was converted and is not in the cache")
    return {name: read_table(place / name, kind) for name, kind in FILES.items()}


def convert(
    *,
    root: Path,
    manifest: Path,
    rows: Path,
    quarantine: Path,
    images: Path,
    conventions: Path,
    workdir: Path,
    policies: Policies,
    jobs: int = 1,
) -> str:
    """Convert a FLARE-shaped dataset to typed rows; every record is a row or in quarantine with a reason.

    Args:
        root: folder that holds training/, validation-public/, …; only read
        manifest: the dataset's manifest
        rows: Parquet of the rows to write
        quarantine: Parquet of the quarantine to write
        images: Parquet to write: hashes, depth and frames of every image that a row names
        conventions: Parquet to write: how each subset writes its answers, and how that is known
        workdir: caches converted subset folders between runs
        policies: what to do with defects
        jobs: processes that read images
    """
    done = convert_dataset(root, manifest, policies, workdir, jobs)
    write_table(quarantine, done.quarantine, QuarantinedRow)
    write_table(images, done.images, ImageFacts)
    write_rows(conventions, done.conventions, Convention)
    write_table(rows, done.rows, Row)
    counts = done.counts
    unreadable = f"; {counts.files} question files are not read" if counts.files else ""
    return (
        f"convert: {counts.records} records, {counts.rows} rows, {counts.quarantined} quarantined"
        f"{_reasons(done.quarantine)}{unreadable}; "
        f"{counts.converted} subset folders converted, {counts.cached} unchanged"
    )


if __name__ == "__main__":
    run_step(convert, garbage=False)  # rows hold none
