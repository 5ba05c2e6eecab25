"""A folder of DICOM files."""

from typing import Literal

from pydantic import Field

from workflow_scripts.core.config.sources.entry import DatasetEntry


class DicomDataset(DatasetEntry):
    """A folder of DICOM files with a table of questions or labels beside it."""

    source: Literal["dicom"] = "dicom"
    path: str | None = Field(None, description="The folder.")
