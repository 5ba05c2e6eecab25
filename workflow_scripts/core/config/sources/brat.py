"""A folder of texts with brat's standoff annotations beside them."""

import re
from typing import Any, Literal

from pydantic import Field, field_validator

from workflow_scripts.core.config.sources.entry import DatasetEntry
from workflow_scripts.core.tasks import tasks


class BratDataset(DatasetEntry):
    """A folder of texts (`.txt`) with annotations of the same name beside each (`.ann`, brat's standoff format).

    One question a text and task, or a window of it; rows have no images.
    """

    source: Literal["brat"] = "brat"
    path: str = Field(description="The folder.")
    files: tuple[str, ...] | dict[str, tuple[str, ...]] = Field(
        ("**/*.txt",),
        description="Patterns of the texts, or of each split folder's: {training: [train/*.txt]}.",
    )
    annotations: tuple[str, ...] = Field(
        (".ann",), min_length=1, description="Endings of the files of annotations beside a text, such as .a1 and .a2."
    )
    subset: str | None = Field(None, description="Name of the subset; null takes the dataset's name.")
    modality: str = Field("Text", description="Folder of the modality.")
    asks: tuple[str, ...] = Field(min_length=1, description="Tasks to make questions of: entities, relations, or both.")
    types: dict[str, tuple[str, ...]] = Field(
        {},
        description="Types by task, as questions list them; other annotations go to quarantine. Empty: all there are.",
    )
    instructions: dict[str, str] = Field(
        {}, description="First lines of questions by task, in place of the task's own."
    )
    window: int | None = Field(
        None,
        ge=100,
        description="Most characters of a text in a question: longer ones are split at ends of sentences, never inside "
        "an entity. null: each text is one question.",
    )
    case: str | None = Field(
        None,
        description="Regular expression whose first group is the case, the patient say, in a text's path; null: each "
        "text is a case of its own.",
    )

    @field_validator("files")
    @classmethod
    def _below_the_folder(cls, files: Any) -> Any:
        for patterns in files.values() if isinstance(files, dict) else [files]:
            for pattern in patterns:
                if pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
                    raise ValueError(f"{pattern!r} leaves the folder; write patterns below `path`")
        return files

    @field_validator("asks", "types", "instructions")
    @classmethod
    def _known_tasks(cls, named: Any) -> Any:
        for name in named:
            if name not in tasks():
                raise ValueError(f"{name!r} is not a task; allowed: {', '.join(tasks())}")
        return named

    @field_validator("case")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        try:
            groups = 1 if pattern is None else re.compile(pattern).groups
        except re.error as error:
            raise ValueError(f"{pattern!r} is not a valid regular expression ({error})") from None
        if groups < 1:
            raise ValueError(f"{pattern!r} has no group for the case, as in (patient[0-9]+)")
        return pattern
