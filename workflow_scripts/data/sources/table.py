"""Questions from a source of the kind `table`."""

from collections.abc import Iterator
from pathlib import Path

from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.data.sources.record import SourceRecord


def records(spec: TableDataset, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """The records of the source at `root`."""
    raise NotImplementedError
