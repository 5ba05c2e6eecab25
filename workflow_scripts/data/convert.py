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
from workflow_scripts.core.tables import QUARANTINE, ROWS, read_table, write_table
from workflow_scripts.core.tasks import Task
from workflow_scripts.data.answers import Customs
from workflow_scripts.data.build import Part, build_part, found_images, named_images, quarantine_entry
from workflow_scripts.data.crew import Crew, cores
from workflow_scripts.data.customs import resolve_customs
from workflow_scripts.data.manifest import key_of, read_manifest
from workflow_scripts.data.pictures import Index, Probe, index_pictures, probe_all
from workflow_scripts.data.records import BadQuestions, QuestionFile, question_files, read_rows

ROWS_FILE, QUARANTINE_FILE = "rows.parquet", "quarantine.parquet"

WORTH_A_CREW = 2000
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
    tree: Path, manifest: Path, policies: Policies, workdir: Path, jobs: int
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
            f"{tree} holds no question file; expected {{training,validation-public,…}}/<Modality>/<data set>/*.json"
        )
    homes: dict[str, dict[QuestionFile, list[object]]] = {}
    unreadable: list[dict] = []
    for file in tqdm(questions, desc="read questions", unit="file", mininterval=1):
        records = homes.setdefault(file.home, {})
        try:
            records[file] = read_rows(tree, file)
        except BadQuestions as error:
            unreadable.append(quarantine_entry(file, None, error.reason, f"{file.path} {error}", "", []))
    customs = _customs(homes, policies)
    by_home = _files_by_home(files, homes)
    keys = {home: _key(by_home[home], files, customs[_dataset(home)], policies) for home in homes}
    store = {home: workdir / "parts" / keys[home] for home in homes}
    stale = [home for home in homes if not (store[home] / QUARANTINE_FILE).is_file()]
    stale.sort(key=lambda home: -len(by_home[home]))  # the largest first: no process is left alone with it at the end
    indexes = {home: index_pictures(tree, home, by_home[home]) for home in stale}
    needed = {home: _needed(homes[home], indexes[home]) for home in stale}
    rows_in = sum(len(rows) for records in homes.values() for rows in records.values())
    sources = {home: list(records) for home, records in homes.items()}
    del homes
    pictures = [path for paths in needed.values() for path in paths]
    with Crew(jobs if len(pictures) > WORTH_A_CREW else 1) as crew:
        probes = probe_all(tree, pictures, crew)
        _check_unchanged(probes, files)
        tasks = [
            (tree, sources[home], indexes[home], {path: probes[path] for path in needed[home]})
            + (customs[_dataset(home)], policies, store[home])
            for home in stale
        ]
        for _ in tqdm(crew.each(_convert_home, tasks), desc="type rows", total=len(tasks), mininterval=1):
            pass
    rows = _joined([store[home] / ROWS_FILE for home in sources], ROWS)
    quarantine = _joined([store[home] / QUARANTINE_FILE for home in sources], QUARANTINE)
    counts = Counts(rows_in, len(rows), len(quarantine), len(unreadable), len(stale), len(sources) - len(stale))
    if counts.kept + counts.quarantined != counts.rows_in:
        raise AssertionError(f"rows were lost: {counts}")
    quarantine = pa.concat_tables([quarantine, pa.Table.from_pylist(unreadable, schema=QUARANTINE)])
    return rows, quarantine, counts


def _convert_home(
    tree: Path,
    files: list[QuestionFile],
    index: Index,
    probes: dict[str, Probe],
    customs: dict[Task, Customs],
    policies: Policies,
    store: Path,
) -> None:
    """Type the rows of one data set's folder and keep them in `store`; the quarantine's file is the last."""
    part = Part({file: read_rows(tree, file) for file in files})
    build_part(part, index, probes, customs, policies)
    write_table(store / ROWS_FILE, part.kept, ROWS)
    write_table(store / QUARANTINE_FILE, part.quarantined, QUARANTINE)


def _key(paths: list[str], files: dict[str, dict], customs: dict[Task, Customs], policies: Policies) -> str:
    """Changes with anything that the rows of a data set's folder depend on."""
    written = canonical_json({task: vars(custom) for task, custom in customs.items()})
    return key_of(_code_identity(), policies.spec(), written, *(f"{path}:{files[path]['sha256']}" for path in paths))


def _dataset(home: str) -> str:
    return home.split("/")[2]


def _customs(homes: dict[str, dict[QuestionFile, list[object]]], policies: Policies) -> dict[str, dict[Task, Customs]]:
    """Customs of each FLARE data set over all its split folders: they write alike."""
    rows: dict[str, list[object]] = {}
    for home, files in homes.items():
        found = rows.setdefault(_dataset(home), [])
        for records in files.values():
            found += records
    return {dataset: resolve_customs(found, policies.conventions, dataset) for dataset, found in rows.items()}


def _files_by_home(files: dict[str, dict], homes: Iterable[str]) -> dict[str, list[str]]:
    by_home: dict[str, list[str]] = {home: [] for home in homes}
    for path in files:
        home = "/".join(path.split("/", 3)[:3])
        if home in by_home:
            by_home[home].append(path)
    return by_home


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
    parser.add_argument("--tree", type=Path, required=True, help="folder that holds training/, validation-public/, …")
    parser.add_argument("--manifest", type=Path, required=True, help="the tree's manifest")
    parser.add_argument("--policies", type=Policies.model_validate_json, default=Policies(), help="JSON of policies")
    parser.add_argument("--rows", type=Path, required=True, help="Parquet of the rows to write")
    parser.add_argument("--quarantine", type=Path, required=True, help="Parquet of the quarantine to write")
    parser.add_argument("--workdir", type=Path, required=True, help="keeps finished data sets between runs")
    parser.add_argument("--jobs", type=int, default=cores(), help="processes that read images")
    a = parser.parse_args()
    rows, quarantine, counts = convert(a.tree, a.manifest, a.policies, a.workdir, a.jobs)
    write_table(a.quarantine, quarantine, QUARANTINE)
    write_table(a.rows, rows, ROWS)
    unreadable = f"; {counts.files} unreadable question files" if counts.files else ""
    print(
        f"convert: {counts.rows_in} rows in, {counts.kept} kept, {counts.quarantined} quarantined{unreadable}; "
        f"{counts.rebuilt} data set folders converted, {counts.reused} unchanged"
    )


if __name__ == "__main__":
    run_step(main)
