"""Question files: found in a tree, read in any of FLARE's shapes, each row a raw record."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

FOLDERS = {
    "training": "training",
    "validation-public": "validation-public",
    "validation_public": "validation-public",
    "validation-hidden": "validation-hidden",
    "validation_hidden": "validation-hidden",
    "testing": "testing",
}
"""Split folders as spelled in trees, and their one name."""

ROOTS = ("questions", "data", "annotations", "items")
RECORD_LENGTH = 2000

_LONGEST_INTEGER = 300


class BadQuestions(Exception):
    """A question file cannot be read; `reason` is one of `data.conversion.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class QuestionFile:
    """A question file by its place `folder/modality/dataset/name.json`."""

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
    def dataset(self) -> str:
        """The FLARE data set."""
        return self.path.split("/")[2]

    @property
    def subset_folder(self) -> str:
        """The data set's folder in the tree."""
        return "/".join(self.path.split("/")[:3])

    @property
    def answers_for(self) -> str | None:
        """The path of the file that this one repeats with answers (`x_val_withGT.json`: `x_val.json`)."""
        stem, found, _ = self.path[: -len(".json")].rpartition("_withGT")
        return f"{stem}.json" if found else None

    def uid(self, row: int) -> str:
        """The row's name: the same for the same tree on any machine."""
        return f"{self.path[: -len('.json')]}/{row}"


def question_files(paths: Iterable[str]) -> list[QuestionFile]:
    """The question files among a tree's paths, sorted."""
    found = []
    for path in sorted(paths):
        parts = path.split("/")
        if len(parts) == 4 and parts[0] in FOLDERS and parts[3].lower().endswith(".json"):
            found.append(QuestionFile(path))
    return found


def read_rows(root: Path, file: QuestionFile) -> list[object]:
    """The raw rows of a question file: its root list, or the list under one of `ROOTS`.

    An integer of more than 300 digits is kept as text.

    Raises:
        BadQuestions: the file is missing, no JSON, nested too deeply, or holds no list of rows.
    """
    try:
        text = (root / file.path).read_bytes().decode("utf-8-sig")
        content = _loads(text)
    except OSError as error:
        raise BadQuestions("unreadable_file", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadQuestions("unreadable_file", f"is no UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise BadQuestions("unreadable_file", "is nested too deeply") from None
    except ValueError as error:
        raise BadQuestions("unreadable_file", f"is no JSON: {error}") from None
    if isinstance(content, dict):
        content = next((content[key] for key in ROOTS if isinstance(content.get(key), list)), None)
    if not isinstance(content, list):
        raise BadQuestions("no_rows", f"holds neither a list nor an object with one of {', '.join(ROOTS)}")
    return content


def _loads(text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:  # an integer too long for Python; one bad number must not cost the file
        return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= _LONGEST_INTEGER else digits)


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
    """JSON of a raw row as it was found, at most 2,000 characters; what is no Unicode is escaped."""
    try:
        text = json.dumps(record, ensure_ascii=False)
    except (RecursionError, ValueError):
        return "(nested too deeply, or holding too long a number, to be shown)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:RECORD_LENGTH]
