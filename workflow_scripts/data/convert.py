"""Step: a FLARE-shaped tree to `rows.parquet` and `quarantine.parquet`; every row of every file is in one of them.

Finished data sets are kept in the work folder under a key of their content: only those that changed are redone.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pyarrow as pa
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.datasets import Policies
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import BadFile, sha256_of_file
from workflow_scripts.core.manifest import key_of, read_manifest
from workflow_scripts.core.tables import QUARANTINE, ROWS, read_table, write_table
from workflow_scripts.core.tasks import Task
from workflow_scripts.data.conversion.conventions import resolve_customs
from workflow_scripts.data.conversion.images import Index, Probe, index_images, probe_all
from workflow_scripts.data.conversion.process_pool import ProcessPool, cores
from workflow_scripts.data.conversion.question_files import BadQuestions, QuestionFile, question_files, read_rows
from workflow_scripts.data.conversion.rows import Part, build_part, found_images, named_images, quarantine_entry
from workflow_scripts.tasks.answers import Customs

ROWS_FILE, QUARANTINE_FILE = "rows.parquet", "quarantine.parquet"

WORTH_A_POOL = 2000
"""Images from which on starting further processes pays."""


@dataclass(frozen=True)
class Counts:
    """What came of a tree. `rows_in` is `kept + quarantined`; `files` could not be read at all."""

    rows_in: int
    kept: int
    quarantined: int
    files: int
    rebuilt: int
    reused: int


def convert(
    root: Path, manifest: Path, policies: Policies, workdir: Path, jobs: int
) -> tuple[pa.Table, pa.Table, Counts]:
    """Convert `tree` as its manifest describes it.

    Args:
        tree: folder of the split folders; only read.
        manifest: the tree's manifest.
        policies: what to do with defects.
        workdir: where finished data sets are kept between runs.
        jobs: processes that read images and type rows.

    Returns:
        Rows, quarantine, counts.

    Raises:
        BadFile: no question file is in the tree, or a picture is not what the manifest says.
    """
    files = read_manifest(manifest)
    questions = question_files(files)
    if not questions:
        raise BadFile(
            f"{root} holds no question file; expected {{training,validation-public,…}}/<Modality>/<data set>/*.json"
        )
    subset_folders: dict[str, dict[QuestionFile, list[object]]] = {}
    unreadable: list[dict] = []
    for file in tqdm(questions, desc="read questions", unit="file", mininterval=1):
        records = subset_folders.setdefault(file.subset_folder, {})
        try:
            records[file] = read_rows(root, file)
        except BadQuestions as error:
            unreadable.append(quarantine_entry(file, None, error.reason, f"{file.path} {error}", "", []))
    customs = _customs(subset_folders, policies)
    by_subset_folder = _files_by_subset_folder(files, subset_folders)
    keys = {
        subset_folder: _key(by_subset_folder[subset_folder], files, customs[_dataset(subset_folder)], policies)
        for subset_folder in subset_folders
    }
    store = {subset_folder: workdir / "parts" / keys[subset_folder] for subset_folder in subset_folders}
    stale = [
        subset_folder for subset_folder in subset_folders if not (store[subset_folder] / QUARANTINE_FILE).is_file()
    ]
    stale.sort(
        key=lambda subset_folder: -len(by_subset_folder[subset_folder])
    )  # the largest first: no process is left alone with it at the end
    indexes = {
        subset_folder: index_images(root, subset_folder, by_subset_folder[subset_folder]) for subset_folder in stale
    }
    needed = {subset_folder: _needed(subset_folders[subset_folder], indexes[subset_folder]) for subset_folder in stale}
    rows_in = sum(len(rows) for records in subset_folders.values() for rows in records.values())
    sources = {subset_folder: list(records) for subset_folder, records in subset_folders.items()}
    del subset_folders
    images = [path for paths in needed.values() for path in paths]
    with ProcessPool(jobs if len(images) > WORTH_A_POOL else 1) as pool:
        probes = probe_all(root, images, pool)
        _check_unchanged(probes, files)
        tasks = [
            (
                root,
                sources[subset_folder],
                indexes[subset_folder],
                {path: probes[path] for path in needed[subset_folder]},
            )
            + (customs[_dataset(subset_folder)], policies, store[subset_folder])
            for subset_folder in stale
        ]
        for _ in tqdm(pool.each(_convert_subset_folder, tasks), desc="type rows", total=len(tasks), mininterval=1):
            pass
    rows = _joined([store[subset_folder] / ROWS_FILE for subset_folder in sources], ROWS)
    quarantine = _joined([store[subset_folder] / QUARANTINE_FILE for subset_folder in sources], QUARANTINE)
    counts = Counts(rows_in, len(rows), len(quarantine), len(unreadable), len(stale), len(sources) - len(stale))
    if counts.kept + counts.quarantined != counts.rows_in:
        raise AssertionError(f"rows were lost: {counts}")
    quarantine = pa.concat_tables([quarantine, pa.Table.from_pylist(unreadable, schema=QUARANTINE)])
    return rows, quarantine, counts


def _convert_subset_folder(
    root: Path,
    files: list[QuestionFile],
    index: Index,
    probes: dict[str, Probe],
    customs: dict[Task, Customs],
    policies: Policies,
    store: Path,
) -> None:
    """Type the rows of one data set's folder and keep them in `store`; the quarantine's file is the last."""
    part = Part({file: read_rows(root, file) for file in files})
    build_part(part, index, probes, customs, policies)
    write_table(store / ROWS_FILE, part.kept, ROWS)
    write_table(store / QUARANTINE_FILE, part.quarantined, QUARANTINE)


def _key(paths: list[str], files: dict[str, dict], customs: dict[Task, Customs], policies: Policies) -> str:
    """Changes with anything that the rows of a data set's folder depend on."""
    written = canonical_json({task: vars(custom) for task, custom in customs.items()})
    return key_of(_code_identity(), policies.spec(), written, *(f"{path}:{files[path]['sha256']}" for path in paths))


def _dataset(subset_folder: str) -> str:
    return subset_folder.split("/")[2]


def _customs(
    subset_folders: dict[str, dict[QuestionFile, list[object]]], policies: Policies
) -> dict[str, dict[Task, Customs]]:
    """Customs of each FLARE data set over all its split folders: they write alike."""
    rows: dict[str, list[object]] = {}
    for subset_folder, files in subset_folders.items():
        found = rows.setdefault(_dataset(subset_folder), [])
        for records in files.values():
            found += records
    return {dataset: resolve_customs(found, policies.conventions, dataset) for dataset, found in rows.items()}


def _files_by_subset_folder(files: dict[str, dict], subset_folders: Iterable[str]) -> dict[str, list[str]]:
    by_subset_folder: dict[str, list[str]] = {subset_folder: [] for subset_folder in subset_folders}
    for path in files:
        subset_folder = "/".join(path.split("/", 3)[:3])
        if subset_folder in by_subset_folder:
            by_subset_folder[subset_folder].append(path)
    return by_subset_folder


def _needed(files: dict[QuestionFile, list[object]], index: Index) -> list[str]:
    """The pictures that the rows of one folder name."""
    names = {name for records in files.values() for record in records for name in named_images(record)}
    return sorted(set(found_images(names, index)))


def _check_unchanged(probes: dict[str, Probe], files: dict[str, dict]) -> None:
    for path, probe in probes.items():
        if probe.sha256 and path in files and probe.sha256 != files[path]["sha256"]:
            raise BadFile(f"{path} is not what the manifest says: the tree changed; make the manifest again")


@cache
def _code_identity() -> str:
    """Changes with the code that makes rows: what it made before is then made again."""
    room = Path(__file__).parent
    core = room.parent / "core"
    return key_of(*(sha256_of_file(path) for path in [*sorted(room.glob("*.py")), *sorted(core.glob("*.py"))]))


def _joined(paths: list[Path], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([schema.empty_table(), *(read_table(path, schema) for path in paths)])


def main() -> None:
    """Parse the arguments, convert, write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder that holds training/, validation-public/, …")
    parser.add_argument("--manifest", type=Path, required=True, help="the tree's manifest")
    parser.add_argument("--policies", type=Policies.model_validate_json, default=Policies(), help="JSON of policies")
    parser.add_argument("--rows", type=Path, required=True, help="Parquet of the rows to write")
    parser.add_argument("--quarantine", type=Path, required=True, help="Parquet of the quarantine to write")
    parser.add_argument("--workdir", type=Path, required=True, help="keeps finished data sets between runs")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes that read images")
    a = parser.parse_args()
    rows, quarantine, counts = convert(a.root, a.manifest, a.policies, a.workdir, a.jobs)
    write_table(a.quarantine, quarantine, QUARANTINE)
    write_table(a.rows, rows, ROWS)
    unreadable = f"; {counts.files} unreadable question files" if counts.files else ""
    print(
        f"convert: {counts.rows_in} rows in, {counts.kept} kept, {counts.quarantined} quarantined{unreadable}; "
        f"{counts.rebuilt} data set folders converted, {counts.reused} unchanged"
    )


if __name__ == "__main__":
    run_step(main)
