"""A table of questions or of labels: JSONL, JSON, CSV or Parquet, on disk or on the hub."""

import re
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from workflow_scripts.core.config.section import MovingRevision, Section, canonical_json
from workflow_scripts.core.config.sources.cells import Cell, ColumnCell, TextCell
from workflow_scripts.core.config.sources.entry import DatasetEntry
from workflow_scripts.core.config.sources.presets import PRESETS, Preset, keys_of
from workflow_scripts.core.manifest import SPLIT_FOLDERS
from workflow_scripts.core.rubrics.stated import NAMES, OF_ITEMS
from workflow_scripts.core.tasks import normalise_task, tasks

FOLDERS = tuple(dict.fromkeys(SPLIT_FOLDERS.values()))
"""The split folders by their one name."""

FOLDER_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9 ._()+-]*")
"""A modality or a subset: it names a folder, and others could lead out of it."""

ROLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 -]{0,24}")
"""A role of an image; `slice 12` may follow, and the conversion takes 40 characters."""


class TableImage(ColumnCell):
    """A column of images, or a path with columns in it ("images/{id}.png"), or a mapping of these keys."""

    role: str = Field("", description="Of the image in the row: current, prior, …")
    optional: bool = Field(False, description="Whether rows may lack it, as the first study lacks a prior.")

    @field_validator("role")
    @classmethod
    def _that_the_prompt_can_say(cls, role: str) -> str:
        if role and not ROLE.fullmatch(role):
            raise ValueError(f"{role!r} is no role; expected up to 25 letters, digits, spaces and hyphens")
        return role


class TableLabels(Section):
    """Findings that are labelled one by one, asked for in one question a row or a study."""

    conditions: dict[str, str] = Field(
        min_length=1, description="The column of each condition, by its name; with `listed_in`, the word for it there."
    )
    listed_in: str | None = Field(None, description="The one column that lists what is present.")
    separator: str = Field("|", min_length=1, description="Between the words of `listed_in`.")
    uncertain: Literal["positive", "negative", "leave_out"] = Field(
        "negative",
        description="What -1 and HEDGE count as; leave_out: the row goes to quarantine.",
    )
    blank: Literal["negative", "leave_out"] = Field(
        "negative", description="What a blank counts as; leave_out: a row with one goes to quarantine."
    )
    question: str = Field(
        "Which of these findings does the image show? Choose from: {labels}. Separate them with semicolons, and answer "
        "None if there is none of them.",
        description="The question; {labels} stands for the conditions.",
    )
    task: str = Field("multi-label classification", description="The task, by a spelling of it.")

    @field_validator("conditions")
    @classmethod
    def _no_separator_inside(cls, conditions: dict[str, str]) -> dict[str, str]:
        for name in conditions:
            if ";" in name or not name.strip():
                raise ValueError(f"{name!r} cannot be a condition's name: it is empty or holds a semicolon")
        return conditions


class FurtherTable(Section):
    """A table whose columns are added to the rows."""

    files: str = Field(description="Pattern of the one file.")
    on: tuple[str, ...] = Field(min_length=1, description="Columns that both tables have; they name one row of it.")

    @field_validator("files")
    @classmethod
    def _below_the_folder(cls, pattern: str) -> str:
        return _checked_pattern(pattern)


class TableDataset(DatasetEntry):
    """A table whose rows are questions or labels; its columns are named here, or by a preset."""

    presets: ClassVar[tuple[str, ...]] = PRESETS
    source: Literal["table"] = "table"
    preset: Preset | None = Field(
        None, description="A published table whose keys are known; what is set here goes first."
    )
    path: str | None = Field(None, description="The table, or the folder that holds it; it is only read.")
    repo: str | None = Field(None, description="Instead of a path: a repository of the hub.")
    revision: MovingRevision = Field("main", description="Commit to download, or `main`, which is recorded.")
    gated: bool = Field(False, description="Whether the repository's terms have to be accepted.")
    include: tuple[str, ...] = Field((), description="Patterns of the files to download; empty means all.")
    mirror: str | None = Field(
        None, description="Folder with the same files, copied instead; HF_ENDPOINT names a mirror on the network."
    )
    files: tuple[str, ...] | dict[str, tuple[str, ...]] = Field(
        (), description="Patterns of the tables in the folder, or of each split folder's; empty means all at its top."
    )
    split: TextCell = Field(TextCell(text="training"), description="Split folder of a row, where `files` names none.")
    lists: dict[str, str] = Field(
        {}, description="File that lists the rows of a split folder, by the value of `split`, one a line."
    )
    join: tuple[FurtherTable, ...] = Field((), description="Tables whose columns are added.")
    where: dict[str, tuple[str, ...]] = Field({}, description="Rows to take: values by column; others are left out.")
    where_not: dict[str, tuple[str, ...]] = Field({}, description="Rows to leave out: values by column.")
    question: ColumnCell = Field(
        ColumnCell(column="question"),
        description="The question: a column, a text with columns in it, or a mapping of `text` or `column` with "
        "`pattern`, `bands`, `values` and `otherwise`; so too the other cells below.",
    )
    answer: str | ColumnCell = Field(
        "answer",
        description="Column of the answer, which may be a list or a number; or a mapping as above, for one in a text.",
    )
    answer_is: Literal["written", "index"] = Field("written", description="index: the option's number, from 0.")
    options: tuple[str, ...] = Field(
        (), description="Columns of the options in their order, or the one that lists them."
    )
    labels: TableLabels | None = Field(None, description="Instead of question and answer: columns of labels.")
    images: tuple[TableImage, ...] = Field(
        (TableImage(column="image"),),
        description="Images of a row: paths, bytes as `datasets` stores them, or lists; `role`, `optional`. []: rows "
        "have none.",
    )
    images_in: tuple[str, ...] = Field(
        ("",),
        description="Folders that paths of images start from, or zips; empty: the table's folder. Patterns may be.",
    )
    id: ColumnCell | None = Field(None, description="Name of a row, which no other row of its split folder has.")
    case: ColumnCell | None = Field(None, description="Patient, by a pseudonym; null: read from the images' names.")
    study: ColumnCell | None = Field(None, description="Rows of one value become one row with the images of all.")
    task: TextCell = Field(
        TextCell(text="open vqa"), description="The task, by a spelling of it: a text, or a mapping as above."
    )
    rubric: TextCell | None = Field(
        None,
        description="What free responses are graded by: a name of a rubric that all rows have, or a mapping as above; "
        "a column may also hold items.",
    )
    rubric_items: str | None = Field(
        None, description="Column that lists the weighted items of each row's `rubric`; by itself: of `item_list`."
    )
    modality: TextCell = Field(TextCell(text="Image"), description="The modality.")
    subset: TextCell | None = Field(None, description="The subset; null: the dataset's name.")
    groups: dict[str, ColumnCell] = Field(
        {}, description="hospital, scanner, sex, age band, … by name: tables per group."
    )
    mark_shared_images: bool = Field(
        False, description="Give rows outside training the group `image_in_training`: whether a training row shows it."
    )

    @field_validator("files")
    @classmethod
    def _below_the_folder(cls, files: Any) -> Any:
        for patterns in files.values() if isinstance(files, dict) else [files]:
            for pattern in patterns:
                _checked_pattern(pattern)
        return files

    @field_validator("images_in")
    @classmethod
    def _that_can_be_looked_for(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            _checked_stars(pattern)
        return patterns

    @field_validator("modality", "subset")
    @classmethod
    def _that_name_folders(cls, cell: TextCell | None) -> TextCell | None:
        stated = {*cell.values.values(), cell.otherwise, cell.constant()} - {None} if cell is not None else set()
        for name in stated:
            if not FOLDER_NAME.fullmatch(str(name)):
                raise ValueError(f"{name!r} cannot name a folder; expected letters, digits, spaces and ._()+-")
        return cell

    @model_validator(mode="before")
    @classmethod
    def _of_preset(cls, given: Any) -> Any:
        """Fill in a preset's keys; a path takes the place of its repository."""
        if not isinstance(given, dict) or given.get("preset") not in cls.presets:
            return given
        keys = keys_of(given["preset"])
        if given.get("path") is not None:
            keys = {key: value for key, value in keys.items() if key not in ("repo", "revision", "include", "gated")}
        elif given.get("repo") not in (None, keys.get("repo")):
            keys.pop("revision", None)
        return keys | given

    @model_validator(mode="after")
    def _one_place(self) -> "TableDataset":
        if (self.path is None) == (self.repo is None):
            raise ValueError("give a `path` to the table, or a `repo` of the hub")
        if isinstance(self.files, dict):
            for folder in self.files:
                _known_folder("files", folder)
        for name in self.lists:
            _known_folder("lists", name)
        for named in {*self.split.values.values(), self.split.otherwise, self.split.constant()} - {None}:
            if not self.lists:
                _known_folder("split", str(named), column=named == self.split.constant())
        for spelling in {*self.task.values.values(), self.task.otherwise, self.task.constant()} - {None}:
            _known_task("task", str(spelling), column=spelling == self.task.constant())
        if self.rubric is not None and (rubric := self.rubric.constant()) is not None:
            _known_rubric(rubric, items=self.rubric_items is not None)
        if self.labels is not None:
            _known_task("labels.task", self.labels.task)
        elif self.study is not None:
            raise ValueError("`study` joins rows of `labels`; a row with a question of its own stands alone")
        return self

    def source_spec(self) -> str:
        """Canonical JSON of where the rows come from; how a repository is reached changes none of them."""
        return canonical_json(self.model_dump(mode="json", exclude={"policies", "preset", "gated", "mirror"}))

    def download_spec(self) -> str:
        """Canonical JSON of the download, as an entry of the kind `hub`."""
        return canonical_json(
            {
                "source": "hub",
                "repo": self.repo,
                "revision": self.revision,
                "include": list(self.include),
                "mirror": self.mirror,
            }
        )

    def columns(self) -> dict[str, list[tuple[str, ...]]]:
        """The columns that are read, each with its other names, by the key that names them."""
        named: dict[str, list[tuple[str, ...]]] = {}
        cells: dict[str, Cell | None] = {
            "split": None if isinstance(self.files, dict) else self.split,
            "id": self.id,
            "case": self.case,
            "study": self.study,
            "modality": self.modality,
            "subset": self.subset,
            **{f"images.{number}": image for number, image in enumerate(self.images)},
            **{f"groups.{name}": cell for name, cell in self.groups.items()},
        }
        if self.labels is None:
            cells |= {"question": self.question, "task": self.task, "rubric": self.rubric}
            named |= {} if self.rubric_items is None else {"rubric_items": [(self.rubric_items,)]}
            named["answer"] = [(self.answer,)] if isinstance(self.answer, str) else self.answer.columns()
            named["options"] = [(column,) for column in self.options]
        elif self.labels.listed_in is not None:
            named["labels.listed_in"] = [(self.labels.listed_in,)]
        else:
            named["labels.conditions"] = [(column,) for column in self.labels.conditions.values()]
        named |= {key: cell.columns() for key, cell in cells.items() if cell is not None}
        named |= {"where": [(column,) for column in {**self.where, **self.where_not}]}
        named |= {f"join.{number}.on": [(name,) for name in table.on] for number, table in enumerate(self.join)}
        return {key: columns for key, columns in named.items() if columns}


def _checked_pattern(pattern: str) -> str:
    """A pattern of tables below the folder of the entry; raises ValueError."""
    if not pattern.strip() or pattern.startswith(("/", "~")) or ".." in pattern.split("/"):
        raise ValueError(f"{pattern!r} is no pattern of files in the folder that `path` names, as train*.csv is")
    return _checked_stars(pattern)


def _checked_stars(pattern: str) -> str:
    if any("**" in part and part != "**" for part in pattern.split("/")):
        raise ValueError(f"{pattern!r}: ** stands for folders at any depth, and alone between slashes")
    return pattern


def _known_folder(place: str, folder: str, *, column: bool = False) -> None:
    if folder not in FOLDERS:
        allowed = ", ".join(FOLDERS) + (_or_a_column(folder) if column else "")
        raise ValueError(f"{place}: {folder!r} is not a split folder; allowed: {allowed}")


def _known_task(place: str, spelling: str, *, column: bool = False) -> None:
    if normalise_task(spelling) is None:
        allowed = ", ".join(task.spellings[0] for task in tasks().values()) + (_or_a_column(spelling) if column else "")
        raise ValueError(f"{place}: {spelling!r} is not a task; allowed: {allowed}")


def _or_a_column(name: str) -> str:
    """How a column of this name is written where a text alone is a constant."""
    return f"; a column of this name is written {{column: {name}}}"


def _known_rubric(name: str, *, items: bool) -> None:
    """Raises ValueError unless a rubric has this name, and `rubric_items` where each case has items of its own."""
    if name not in NAMES:
        raise ValueError(f"rubric: {name!r} is no rubric; allowed: {', '.join(NAMES)}")
    if items != (name in OF_ITEMS):
        wanted = "names a column of the items of each row" if name in OF_ITEMS else "does not go with it"
        raise ValueError(f"rubric: {name!r}: `rubric_items` {wanted}")
