"""Step: a table, a DICOM folder, NIfTI volumes or signals, laid out as a FLARE-shaped folder for the conversion.

Nothing that identifies a person is written: a DICOM file is de-identified before anything of it is looked at, and of a
table the columns that the configuration names are read and no others.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel

from workflow_scripts.cache.folders import Seen, write_seen
from workflow_scripts.cache.private_files import write_look
from workflow_scripts.cache.source_files import (
    MISSING,
    is_private,
    keys_of_images,
    private_files,
    stamp_of,
    stamps_of_source,
)
from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.sources.brat import BratDataset
from workflow_scripts.core.config.sources.cells import TextCell
from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.core.config.sources.entry import DatasetEntry
from workflow_scripts.core.config.sources.nifti import NiftiDataset
from workflow_scripts.core.config.sources.series import SignalsDataset
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.files import BadFile, sha256_of_file
from workflow_scripts.core.manifest import Stamp, write_manifest
from workflow_scripts.data.sources.folder import Prepared, write_folder
from workflow_scripts.data.sources.record import SourceRecord

Prepares = TableDataset | DicomDataset | NiftiDataset | SignalsDataset | BratDataset


class Source(RootModel[Annotated[Prepares, Field(discriminator="source")]]):
    """The entry of a dataset that is prepared."""


def records_of(spec: Source, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """The records of a source; its module is loaded alone: a table needs no reader of DICOM."""
    module = import_module(f"workflow_scripts.data.sources.{spec.root.source}")
    records: Iterator[SourceRecord] = module.records(spec.root, root, jobs)
    return records


def prepare(
    *, spec: Source, source: Path, out: Path, manifest: Path, name: str, identity: str = "", seen: Path | None = None,
    jobs: int = 1
) -> str:  # fmt: skip
    """Lay a source out as a FLARE-shaped folder.

    Args:
        spec: the dataset's entry in the configuration
        source: the table, or the folder, that is read and never written to
        out: root of the split folders to write
        manifest: JSON to write
        name: of the dataset; a table's subset is called by it where the entry names none
        identity: what the plan calls the state of the source
        seen: record of sizes, times and hashes of the source's files for later plans
        jobs: processes and threads that read images
    """
    if isinstance(spec.root, TableDataset) and spec.root.subset is None:
        spec = Source(spec.root.model_copy(update={"subset": TextCell(text=name)}))
    if isinstance(spec.root, BratDataset) and spec.root.subset is None:
        spec = Source(spec.root.model_copy(update={"subset": name}))
    if is_private(spec.root):
        return _prepare_private(spec.root, source, out, manifest, name, identity, seen, jobs)
    # A table's images are looked at as they are linked to.
    stamps = stamps_of_source(spec.root, source) if seen else {}
    prepared = write_folder(records_of(spec, source, jobs), out, {"source": spec.root.source}, jobs)
    if seen:
        write_seen(seen, _seen(prepared, source, identity, stamps))
    write_manifest(manifest, prepared.manifest)
    return f"prepare: {prepared.records} records, {len(prepared.manifest['files'])} files"


def _prepare_private(
    entry: DatasetEntry, source: Path, out: Path, manifest: Path, name: str, identity: str, seen: Path | None, jobs: int
) -> str:
    """`prepare` for a folder whose file names nothing may tell: what later plans compare with is digests."""
    if isinstance(entry, DicomDataset) and entry.questions.subset is None:
        questions = entry.questions.model_copy(update={"subset": TextCell(text=name)})
        entry = entry.model_copy(update={"questions": questions})
    spec = Source.model_validate(entry)
    files = private_files(entry, source) if seen else {}
    prepared = write_folder(records_of(spec, source, jobs), out, {"source": spec.root.source}, jobs, private=True)
    if seen:
        write_look(files, seen, identity)
    write_manifest(manifest, prepared.manifest)
    return f"prepare: {prepared.records} records, {len(prepared.manifest['files'])} files"


def _seen(prepared: Prepared, source: Path, identity: str, stamps: dict[str, Stamp]) -> Seen:
    """What a later plan compares the source with.

    Args:
        stamps: of the source's own files, taken before they were read.

    Raises:
        BadFile: one of them changed meanwhile.
    """
    folder = source if source.is_dir() else source.parent
    keys = keys_of_images(prepared.stamps, source)
    hashes = {keys[file]: sha256 for file, sha256 in prepared.hashes.items()}
    of_images = {keys[file]: stamp for file, stamp in prepared.stamps.items()}
    for path, stamp in stamps.items():
        if path not in hashes:
            hashes[path] = sha256_of_file(folder / path)
        if stamp_of(folder / path) != stamp:
            raise BadFile(f"{folder / path} changed while it was read; run again when it rests")
    missing = {path: "" for path, stamp in of_images.items() if stamp == MISSING}
    both = of_images | stamps
    return Seen(identity, dict(sorted(both.items())), hashes | missing)


if __name__ == "__main__":
    run_step(prepare)
