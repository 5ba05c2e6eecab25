"""Where rows come from: `datasets` are folders, tables or several of them joined, `splits` are selections of rows."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.core.config.section import Name, Revision, Section
from workflow_scripts.core.config.sources.brat import BratDataset
from workflow_scripts.core.config.sources.dicom import DicomDataset
from workflow_scripts.core.config.sources.entry import DatasetEntry
from workflow_scripts.core.config.sources.joined import JoinedDataset
from workflow_scripts.core.config.sources.nifti import NiftiDataset
from workflow_scripts.core.config.sources.series import SignalsDataset
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
    SyntheticDataset
    | LocalDataset
    | HubDataset
    | TableDataset
    | DicomDataset
    | NiftiDataset
    | SignalsDataset
    | BratDataset
    | JoinedDataset,
    Field(discriminator="source"),
]

PREPARED = (TableDataset, DicomDataset, NiftiDataset, SignalsDataset, BratDataset)
"""Datasets that `data_prepare` lays out as FLARE does before they are converted."""

CONVERTED = (SyntheticDataset, LocalDataset, HubDataset, *PREPARED)
"""Datasets whose records are converted here; others are joined from these."""


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
    exclude: tuple[str, ...] = Field((), description="Subsets to leave out.")
    tasks: tuple[str, ...] = Field((), description="Tasks to keep (counting, …); empty means all.")
    where: dict[str, tuple[str, ...]] = Field(
        {}, description="Rows of these groups alone: {hospital: [A, B]}; empty means all."
    )
    where_not: dict[str, tuple[str, ...]] = Field(
        {}, description="Rows of other groups: {hospital: [A]}. A row that states none is left out too."
    )
    part: Part | None = Field(None, description="A grouped, stratified share of the rows; null means all.")
    limit: int | None = Field(None, ge=1, description="At most this many rows, whole cases, drawn by the part's rule.")

    @field_validator("tasks")
    @classmethod
    def _known_tasks(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if name not in tasks():
                raise ValueError(f"{name!r} is not a task; allowed: {', '.join(tasks())}")
        return names

    @model_validator(mode="after")
    def _not_both(self) -> "Split":
        if both := sorted({*self.only} & {*self.exclude}):
            raise ValueError(f"`only` and `exclude` both name {both[0]!r}")
        return self

    @field_validator("where", "where_not")
    @classmethod
    def _some_values(cls, values: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if empty := [name for name, listed in values.items() if not listed]:
            raise ValueError(f"{empty[0]}: expected at least one value, as in [A, B]")
        return values

    def keeps(self, subset: str, task: str, groups: Mapping[str, str]) -> bool:
        """Whether rows of this subset, task and groups (value by name) are chosen from, wherever their case lies."""
        chosen = subset not in self.exclude and (not self.only or subset in self.only)
        chosen = chosen and all(groups.get(name) in values for name, values in self.where.items())
        chosen = chosen and all(groups.get(name) not in (None, "", *values) for name, values in self.where_not.items())
        return chosen and (not self.tasks or task in self.tasks)
