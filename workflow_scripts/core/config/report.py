"""What the report page says and shows; nothing here changes a number."""

from pydantic import Field

from workflow_scripts.core.config.section import Section


class Report(Section):
    """What the page says and shows; nothing here changes a number."""

    title: str = Field("flarebench", description="Title of the page.")
    caption: str = Field("", description="A sentence under the title.")
    cases: int = Field(10, ge=0, description="Cases shown for each task.")
