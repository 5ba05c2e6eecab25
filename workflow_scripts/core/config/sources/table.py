"""A table of questions: JSONL, CSV or Parquet, on disk or on the hub."""

from typing import Literal

from pydantic import Field

from workflow_scripts.core.config.sources.entry import DatasetEntry


class TableDataset(DatasetEntry):
    """A table whose rows are questions; columns are named here."""

    source: Literal["table"] = "table"
    path: str | None = Field(None, description="The table, or the folder that holds it.")
