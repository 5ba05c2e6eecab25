"""Questions from a source of the kind `nifti`."""

from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.core.config.sources.nifti import NiftiDataset
from workflow_scripts.data.sources.record import SourceRecord


def records(spec: NiftiDataset, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """The records of the source at `root`."""
    raise NotImplementedError
