"""Where rows come from: `datasets` are FLARE-shaped folders, `splits` are named selections of their rows."""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.core.config.section import Name, Revision, Section, canonical_json
from workflow_scripts.core.tasks import tasks

Folder = Literal["training", "validation-public", "validation-hidden", "testing"]


class SubsetConventions(Section):
    """How one subset writes its answers; null is learned from its rows."""

    box_convention: Literal["xyxy", "xywh"] | None = Field(None, description="Corners, or corner and size.")
    separator: Literal[",", ";"] | None = Field(None, description="Between labels.")
    answer_by: Literal["letter", "words"] | None = Field(None, description="What stands for an option.")
    percent: bool | None = Field(None, description="Whether numbers bear a percent sign.")


class Policies(Section):
    """What to do with rows that have a defect; the audit says row by row what was done."""

    missing_image: Literal["quarantine", "repair"] = Field(
        "quarantine", description="repair: a row of several images goes on with those that are there."
    )
    no_answer: Literal["quarantine", "keep"] = Field(
        "quarantine",
        description="keep: for splits in `submit`; the row is neither trained on nor scored.",
    )
    answer_not_an_option: Literal["quarantine", "keep"] = Field(
        "quarantine", description="keep: the answer stays as it is."
    )
    invalid_box: Literal["quarantine", "repair"] = Field(
        "quarantine", description="repair: put corners in order and cut to the image."
    )
    outlier: Literal["quarantine", "keep"] = Field(
        "quarantine", description="Values far out of the range of their question."
    )
    outlier_spread: float = Field(
        5.0, gt=0, description="How many interquartile ranges beyond the quartiles a value may lie."
    )
    duplicate: Literal["quarantine", "keep"] = Field("quarantine", description="The first of equal rows is kept.")
    contradiction: Literal["quarantine", "keep"] = Field(
        "quarantine", description="Equal images and question, other answers: all of them. Reports may differ."
    )
    deep_images: Literal["percentile", "range"] = Field(
        "percentile",
        description="How grey of more than 8 bits becomes 8: stretched from the 0.5th to the 99.5th percentile, or "
        "from the least to the greatest value (range).",
    )
    conventions: dict[str, SubsetConventions] = Field(
        {}, description="How a subset writes its answers, by its name; what is set here is not learned from its rows."
    )
    cases: dict[str, str] = Field(
        {}, description="Regular expression by subset whose first group is the case in an image's path."
    )

    @field_validator("cases")
    @classmethod
    def _one_group(cls, cases: dict[str, str]) -> dict[str, str]:
        for subset, pattern in cases.items():
            try:
                groups = re.compile(pattern).groups
            except re.error as error:
                raise ValueError(f"{subset}: {pattern!r} is not a valid regular expression ({error})") from None
            if groups < 1:
                raise ValueError(f"{subset}: {pattern!r} has no group for the case, as in (CXR[0-9]+)")
        return cases


class DatasetEntry(Section):
    """What every dataset has, wherever it comes from."""

    policies: Policies = Field(Policies(), description="What to do with defects.")

    def source_spec(self) -> str:
        """Canonical JSON of where the dataset comes from, without the policies, which change no file of it."""
        return canonical_json(self.model_dump(mode="json", exclude={"policies"}))


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


Dataset = Annotated[SyntheticDataset | LocalDataset | HubDataset, Field(discriminator="source")]


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
