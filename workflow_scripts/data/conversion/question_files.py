"""Question files: which of a dataset's files they are, read in any of FLARE's shapes, each row a raw record."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.json_values import loads

FOLDERS = {
    "training": "training",
    "validation-public": "validation-public",
    "validation_public": "validation-public",
    "validation-hidden": "validation-hidden",
    "validation_hidden": "validation-hidden",
    "testing": "testing",
}
"""Split folders as datasets spell them, and their one name."""

ROOTS = ("questions", "data", "annotations", "items")
RECORD_LENGTH = 2000


class BadQuestions(Exception):
    """A question file cannot be read; `reason` is one of `data.conversion.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class QuestionFile:
    """A question file by its place `folder/modality/subset/name.json`."""

    path: str

    @property
    def folder(self) -> str:
        """The split folder under its one name."""
        return FOLDERS[self.path.split("/")[0]]

    @property
    def modality(self) -> str:
        """The modality's folder: the rows' own field is spelled variously."""
        return self.path.split("/")[1]

    @property
    def subset(self) -> str:
        """The subset: the folder's name."""
        return self.path.split("/")[2]

    @property
    def subset_folder(self) -> str:
        """The subset's folder below the root."""
        return "/".join(self.path.split("/")[:3])

    @property
    def answers_for(self) -> str | None:
        """The path of the file that this one repeats with answers (`x_val_withGT.json`: `x_val.json`)."""
        stem, ending, _ = self.path[: -len(".json")].rpartition("_withGT")
        return f"{stem}.json" if ending else None

    def uid(self, row: int) -> str:
        """The row's name: the same for the same dataset on any machine."""
        return f"{self.path[: -len('.json')]}/{row}"


def question_files(paths: Iterable[str]) -> list[QuestionFile]:
    """The question files among a dataset's paths, sorted."""
    files = []
    for path in sorted(paths):
        parts = path.split("/")
        if len(parts) == 4 and parts[0] in FOLDERS and parts[3].lower().endswith(".json"):
            files.append(QuestionFile(path))
    return files


def read_rows(root: Path, file: QuestionFile) -> list[object]:
    """The raw rows of a question file: its root list, or the list under one of `ROOTS`.

    An integer of more than 300 digits becomes text.

    Raises:
        BadQuestions: the file is missing, is not valid JSON, is nested too deeply, or holds no list of rows.
    """
    try:
        text = (root / file.path).read_bytes().decode("utf-8-sig")
        content = loads(text)
    except OSError as error:
        raise BadQuestions("unreadable_file", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadQuestions("unreadable_file", f"is not valid UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise BadQuestions("unreadable_file", "is nested too deeply") from None
    except ValueError as error:
        raise BadQuestions("unreadable_file", f"is not valid JSON: {error}") from None
    if isinstance(content, dict):
        content = next((content[key] for key in ROOTS if isinstance(content.get(key), list)), None)
    if not isinstance(content, list):
        raise BadQuestions("no_rows", f"holds neither a list nor an object with one of {', '.join(ROOTS)}")
    return content


def is_unicode(value: object) -> bool:
    """Whether all text in a JSON value can be written as UTF-8."""
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    except (RecursionError, ValueError):
        return True  # nested too deeply or too long a number: another check names that
    return True


def record_text(record: object) -> str:
    """JSON of a raw row as it stands, at most 2,000 characters; what is not valid Unicode is escaped."""
    try:
        text = json.dumps(record, ensure_ascii=False)
    except (RecursionError, ValueError):
        return "(nested too deeply, or holding too long a number, to be shown)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:RECORD_LENGTH]
