"""What stands beside tuned networks: of which encoder and rows, and what each head says."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from workflow_scripts.core.files import BadFile, read_json, sha256_of_file
from workflow_scripts.tasks.encodings import Head

DESCRIPTION = "encoder.json"
HISTORY = "history.parquet"


class TaskHead(BaseModel):
    """The network of one task, in the folder of that name."""

    model_config = ConfigDict(frozen=True)

    head: Head
    labels: tuple[str, ...]  # tags or classes, as the outputs are numbered; none of other heads
    known: dict[str, Any]  # what training rows showed, see the task's `encoding`
    rows: int
    windows: int
    length: int  # most tokens of a window
    stride: int  # tokens that two neighbouring windows share


class Description(BaseModel):
    """Everything that was tuned for a system."""

    model_config = ConfigDict(frozen=True)

    encoder: str  # the hub's repository, or the name in the configuration
    revision: str
    rows_sha256: str
    heads: dict[str, TaskHead]  # by task
    files: dict[str, str]  # SHA-256 by path below the folder


def read_description(folder: Path) -> Description:
    """What `folder` holds; its files are those that were written.

    Raises:
        BadFile: a file is missing or was changed.
    """
    try:
        description = Description.model_validate(read_json(folder / DESCRIPTION))
    except ValidationError:
        raise BadFile(f"{folder / DESCRIPTION} describes no tuned encoder; delete it and run again") from None
    for name, sha256 in description.files.items():
        if not (folder / name).is_file() or sha256_of_file(folder / name) != sha256:
            raise BadFile(f"{folder / name} is not what was tuned; delete {folder / DESCRIPTION} and run again")
    return description
