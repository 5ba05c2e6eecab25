"""What the report page says and shows, and what is uploaded; nothing here changes a number."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from workflow_scripts.core.config.section import Section


class Report(Section):
    """What the page says and shows; nothing here changes a number."""

    title: str = Field("flarebench", description="Title of the page.")
    caption: str = Field("", description="A sentence under the title.")
    cases: int | None = Field(
        None, ge=0, description="Cases of each task in the case browser; null shows every evaluated row."
    )
    embedded_megabytes: float = Field(
        24.0, ge=0, description="Images up to this size together stand inside the page; more are files beside it."
    )


Repository = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""OWNER/NAME of a repository of the hub."""


class Publication(Section):
    """A tuned system that `snakemake push` uploads, with its model card; no other target does."""

    repo: Repository = Field(description="Repository on the hub: OWNER/NAME; it is created where there is none.")
    what: Literal["adapter", "merged"] = Field(
        "adapter", description="merged: full weights, the base with the adapter in it."
    )
    private: bool = Field(True, description="Whether the repository is private; one of the other kind is refused.")
