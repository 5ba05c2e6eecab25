"""Where rows come from: `datasets` are FLARE-shaped folders, `splits` are named selections of their rows."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.core.config.section import Name, Revision, Section
from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.core.config.sources.entry import DatasetEntry
from workflow_scripts.core.config.sources.nifti import NiftiDataset
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.core.tasks import tasks

Folder = Literal["training", "validation-public", "validation-hidden", "testing"]


class SyntheticDataset(DatasetEntry):
    """A FLARE-shaped toy dataset that is drawn here: deterministic, no download."""

    source: Literal["synthetic"] = "synthetic"
    seed: int = Field(7, ge=0, description="Seed of the generator.")
    scale: float = Field(1.0, gt=0, le=100, description="1.0 draws about 1,900 training and 450 validation rows.")


class LocalDataset(DatasetEntry):
    """A FLARE-shaped folder on disk. It is read and never written to."""

    source: Literal["local"] = "local"
    path: str | None = Field(None, description="The folder; null takes the top-level `dataset_path`.")


class HubDataset(DatasetEntry):
    """A gated dataset on the Hugging Face hub. Accept its terms there and set HF_TOKEN."""

    source: Literal["hub"] = "hub"
    repo: str = Field("FLARE-MedFM/FLARE-MLLM-2D", description="Repository of the dataset.")
    revision: Revision | Literal["main"] = Field(
        "main",
        description="Commit to download. `main` is resolved once, when the download starts, and recorded.",
    )
    include: tuple[str, ...] = Field((), description="Patterns of the files to download; empty means all.")
    unpack: bool = Field(False, description="Unpack the zips; otherwise images are read straight out of them.")
    mirror: str | None = Field(
        None, description="Folder with the same files, copied instead; HF_ENDPOINT names a mirror on the network."
    )


Dataset = Annotated[
    SyntheticDataset | LocalDataset | HubDataset | TableDataset | DicomDataset | NiftiDataset,
    Field(discriminator="source"),
]

PREPARED = (TableDataset, DicomDataset, NiftiDataset)
"""Datasets that `data_prepare` lays out as FLARE does before they are converted."""


class Part(Section):
    """A share of the rows, drawn by case and image within each subset and task."""

    seed: int = Field(7, ge=0, description="Parts of one seed with disjoint ranges are disjoint.")
    start: float = Field(0.0, ge=0, le=1, description="Start of the range, 0 to 1.")
    stop: float = Field(1.0, ge=0, le=1, description="End of the range, 0 to 1.")

    @model_validator(mode="after")
    def _ordered(self) -> "Part":
        if self.start >= self.stop:
            raise ValueError(f"start {self.start} must be below stop {self.stop}")
        return self


class Split(Section):
    """Rows of a dataset, under one name."""

    dataset: Name = Field(description="Name from `datasets`.")
    folder: Folder = Field(description="Split folder of the dataset.")
    only: tuple[str, ...] = Field((), description="Subsets to keep (IU_XRay, …); empty means all.")
    tasks: tuple[str, ...] = Field((), description="Tasks to keep (counting, …); empty means all.")
    part: Part | None = Field(None, description="A grouped, stratified share of the rows; null means all.")
    limit: int | None = Field(None, ge=1, description="At most this many rows, whole cases, drawn by the part's rule.")

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in tasks():
                raise ValueError(f"{name!r} is not a task; allowed: {', '.join(tasks())}")
        return names

    def keeps(self, subset: str, task: str) -> bool:
        """Whether rows of this subset and task are chosen from, wherever their group lies."""
        return (not self.only or subset in self.only) and (not self.tasks or task in self.tasks)
