"""A folder of NIfTI volumes."""

from typing import Literal

from pydantic import Field

from workflow_scripts.core.config.sources.entry import DatasetEntry


class NiftiDataset(DatasetEntry):
    """A folder of NIfTI volumes with a table of questions or labels beside it."""

    source: Literal["nifti"] = "nifti"
    path: str | None = Field(None, description="The folder.")
