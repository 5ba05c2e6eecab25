"""What the report page says and shows; nothing here changes a number."""

from pydantic import Field

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
