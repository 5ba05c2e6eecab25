"""A folder of NIfTI volumes with a table beside them."""

from typing import Annotated, Literal

from pydantic import Field

from workflow_scripts.core.config.sources.cells import ColumnCell
from workflow_scripts.core.config.sources.table import TableDataset, TableImage

NIFTI_ENDINGS = (".nii", ".nii.gz")
"""Of the names of volumes, in lower case."""


class NiftiDataset(TableDataset):
    """A table of questions or labels whose images are NIfTI volumes; of each volume some slices are shown.

    The keys of `table` are here too. Every volume of the folder that no row names goes to quarantine.
    """

    source: Literal["nifti"] = "nifti"  # type: ignore[assignment]
    images: tuple[TableImage, ...] = Field(
        (TableImage(column="volume"),),
        description="Volumes of a row: paths, or lists of them; images may be among them.",
    )
    slices: int = Field(
        85,
        ge=1,
        description="Slices of a volume that are shown at most; of more, as many at equal distances, the last among "
        "them. MedGemma 1.5 was trained on 85, which are 21,760 tokens.",
    )
    windows: Literal["medgemma-notebook", "medgemma-report", "grey"] = Field(
        "medgemma-notebook",
        description="How Hounsfield units become red, green and blue. medgemma-notebook: -1024 to 1024, -135 to 215, "
        "0 to 80. medgemma-report: -1225 to 1025 in red. grey: the volume's 0.5th to 99.5th percentile in all three, "
        "for MR.",
    )
    frame: int | None = Field(
        None, ge=0, description="Which volume of a file of several, from 0; null: such a file goes to quarantine."
    )
    slope: Annotated[float, Field(allow_inf_nan=False)] | ColumnCell | None = Field(
        None, description="What values are multiplied with after the header's own slope: a number, or a column."
    )
    intercept: Annotated[float, Field(allow_inf_nan=False)] | ColumnCell | None = Field(
        None, description="What is added then: a number, or a column."
    )

    def columns(self) -> dict[str, list[tuple[str, ...]]]:
        """The columns that are read, those of slope and intercept among them."""
        cells = {"slope": self.slope, "intercept": self.intercept}
        named = {key: cell.columns() for key, cell in cells.items() if isinstance(cell, ColumnCell)}
        return super().columns() | {key: columns for key, columns in named.items() if columns}
