"""Step: a table, a DICOM folder or NIfTI volumes, laid out as a FLARE-shaped folder for the conversion.

Nothing that identifies a person is written: a DICOM file is de-identified before anything of it is looked at.
"""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.core.config.sources.nifti import NiftiDataset
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.manifest import write_manifest
from workflow_scripts.data.sources.folder import write_folder
from workflow_scripts.data.sources.record import SourceRecord


class Source(RootModel[Annotated[TableDataset | DicomDataset | NiftiDataset, Field(discriminator="source")]]):
    """The entry of a dataset that is prepared."""


def records_of(spec: Source, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """The records of a source; its module is loaded alone: a table needs no reader of DICOM."""
    module = import_module(f"workflow_scripts.data.sources.{spec.root.source}")
    records: Iterator[SourceRecord] = module.records(spec.root, root, jobs)
    return records


def prepare(*, spec: Source, source: Path, out: Path, manifest: Path, jobs: int = 1) -> str:
    """Lay a source out as a FLARE-shaped folder.

    Args:
        spec: the dataset's entry in the configuration
        source: the table, or the folder, that is read and never written to
        out: root of the split folders to write
        manifest: JSON to write
        jobs: processes that read images
    """
    prepared = write_folder(records_of(spec, source, jobs), out, {"source": spec.root.source}, {})
    write_manifest(manifest, prepared)
    return f"prepare: {len(prepared['files'])} files"


if __name__ == "__main__":
    run_step(prepare)
