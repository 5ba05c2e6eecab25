"""Several datasets as one, for a split that is drawn from all of them."""

from collections.abc import Iterator, Mapping
from typing import Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.core.config.section import Name
from workflow_scripts.core.config.sources.entry import DatasetEntry, Policies


class JoinedDataset(DatasetEntry):
    """Rows of several other datasets, as they were converted there."""

    source: Literal["joined"] = "joined"
    datasets: tuple[Name, ...] = Field(min_length=2, description="Names from `datasets`.")

    @field_validator("datasets")
    @classmethod
    def _each_once(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if doubled := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"{doubled!r} stands there twice")
        return names

    @model_validator(mode="after")
    def _no_policies(self) -> "JoinedDataset":
        if self.policies != Policies():
            raise ValueError("`policies` are those of each dataset that is joined; set them there")
        return self


def faults_of_joins(datasets: Mapping[str, DatasetEntry]) -> Iterator[str]:
    """One sentence for each joined dataset that names what cannot be joined."""
    others = [name for name, entry in datasets.items() if not isinstance(entry, JoinedDataset)]
    for name, entry in datasets.items():
        for part in entry.datasets if isinstance(entry, JoinedDataset) else ():
            if part not in others:
                what = "is joined itself" if part in datasets else "is not in `datasets`"
                yield f"datasets.{name}.datasets: {part!r} {what}; allowed: {', '.join(sorted(others)) or 'none'}"
