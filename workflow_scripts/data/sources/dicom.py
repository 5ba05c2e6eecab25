"""Questions from a source of the kind `dicom`."""

from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.data.sources.record import SourceRecord


def records(spec: DicomDataset, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """The records of the source at `root`."""
    raise NotImplementedError
