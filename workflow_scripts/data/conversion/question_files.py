"""Question files: which of a dataset's files they are, read in any of FLARE's shapes, each row a raw record."""

import gzip
import itertools
import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from workflow_scripts.core.files import loads
from workflow_scripts.core.images import ARCHIVE_FAULTS, split_member
from workflow_scripts.core.manifest import QUESTION_ENDINGS, SPLIT_FOLDERS

PARTS = 4
"""Parts of a question file's path: split folder, modality, subset, name."""

REMEDY = "put its rows as plain .json into {split folder}/<Modality>/<subset>/"

MARK = b'"Question"'
"""What a file with questions holds."""

SNIFFED = 64 * 2**10
"""Bytes from its start in which a file that lies elsewhere shows that it holds questions."""

LARGEST_QUESTIONS = 256 * 2**20
"""Bytes of a question file that is read; its rows take about eight times as much memory."""

ROOTS = ("questions", "data", "annotations", "items")
RECORD_LENGTH = 2000

_ENCODER = json.JSONEncoder(ensure_ascii=False)


class BadQuestions(Exception):
    """A question file cannot be read; `reason` is one of `data.conversion.reasons`."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


@dataclass(frozen=True)
class QuestionFile:
    """A question file by its place `folder/modality/subset/name.json`."""

    path: str

    @cached_property
    def folder(self) -> str:
        """The split folder under its one name."""
        return SPLIT_FOLDERS[self.path.split("/")[0]]

    @cached_property
    def modality(self) -> str:
        """The modality's folder: the rows' own field is spelled variously."""
        return self.path.split("/")[1]

    @cached_property
    def subset(self) -> str:
        """The subset: the folder's name."""
        return self.path.split("/")[2]

    @cached_property
    def subset_folder(self) -> str:
        """The subset's folder below the root."""
        return "/".join(self.path.split("/")[:3])

    @cached_property
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
        if len(parts) == PARTS and parts[0] in SPLIT_FOLDERS and parts[3].lower().endswith(".json"):
            files.append(QuestionFile(path))
    return files


def misplaced_files(root: Path, paths: Iterable[str], zipped: Iterable[str]) -> dict[str, str]:
    """Files with questions that `question_files` does not list, by path, with the reason and the remedy.

    Args:
        root: folder of the dataset.
        paths: of its files.
        zipped: paths of members of zips whose names are question files'.
    """
    misplaced: dict[str, str] = {}
    for path in paths:
        name, depth = path.lower(), path.count("/")
        if name.endswith(".zip") and depth < PARTS - 1:
            misplaced[path] = "is a zip above the subsets' folders: unpack it, or put it into its subset's folder"
        if not name.endswith(QUESTION_ENDINGS) or (depth == PARTS - 1 and name.endswith(".json")):
            continue
        if _holds_questions(root, path):
            where = "is deeper" if depth >= PARTS else "is higher" if depth < PARTS - 1 else ""
            form = "" if name.endswith(".json") else f"is {'gzip' if name.endswith('.gz') else 'JSON Lines'}"
            misplaced[path] = f"{' and '.join(filter(None, (where, form)))}: {REMEDY}"
    for path in _with_questions_in_zips(root, zipped):
        misplaced[path] = f"is in a zip: {REMEDY}"
    return misplaced


def _holds_questions(root: Path, path: str) -> bool:
    """Whether the start of a file names the field `Question`; so too where it cannot be read."""
    try:
        with gzip.open(root / path) if path.lower().endswith(".gz") else (root / path).open("rb") as stream:
            return MARK in stream.read(SNIFFED)
    except (OSError, *ARCHIVE_FAULTS):
        return True


def _with_questions_in_zips(root: Path, members: Iterable[str]) -> Iterator[str]:
    """Those of the paths of members that hold questions, or cannot be read; each zip is opened once."""
    for file, paths in itertools.groupby(members, key=lambda path: split_member(path)[0]):
        with zipfile.ZipFile(root / file) as archive:
            for path in paths:
                try:
                    with archive.open(split_member(path)[1] or "") as stream:
                        questions = MARK in stream.read(SNIFFED)
                except (OSError, *ARCHIVE_FAULTS):
                    questions = True
                if questions:
                    yield path


class DoubledKeys(dict[str, Any]):
    """A raw row in which a key, or one further inside, stands more than once: a value of it is lost."""

    def __init__(self, values: dict[str, Any], keys: Iterable[str], text: str) -> None:
        super().__init__(values)
        self.doubled = sorted(set(keys))
        self.text = text  # JSON as it stands, both values of a key at its top in it


def read_rows(root: Path, file: QuestionFile) -> list[object]:
    """The raw rows of a question file: its root list, or the list under one of `ROOTS`.

    An integer of more than 300 digits becomes text; a row with a key that stands twice becomes `DoubledKeys`.

    Raises:
        BadQuestions: the file is missing, too large, not valid JSON, nested too deeply, or it holds no list of rows,
            or more than one.
    """
    doubled: dict[int, list[tuple[str, Any]]] = {}
    holders: list[dict[str, Any]] = []  # objects live on: an id in `doubled` is of no other

    def object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) < len(pairs):
            doubled[id(value)] = pairs
            holders.append(value)
        return value

    try:
        if (size := (root / file.path).stat().st_size) > LARGEST_QUESTIONS:
            raise BadQuestions("unreadable_file", f"holds {size} bytes, of {LARGEST_QUESTIONS} at most: split it")
        text = (root / file.path).read_bytes().decode("utf-8-sig")
        content = loads(text, object_of)
    except OSError as error:
        raise BadQuestions("unreadable_file", f"cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise BadQuestions("unreadable_file", f"is not valid UTF-8: {error.reason} at byte {error.start}") from None
    except RecursionError:
        raise BadQuestions("unreadable_file", "is nested too deeply") from None
    except ValueError as error:
        raise BadQuestions("unreadable_file", f"is not valid JSON: {error}") from None
    if isinstance(content, dict):
        content = _rows_of_object(content, doubled.get(id(content), []))
    if not isinstance(content, list):
        raise BadQuestions("no_rows", f"holds neither a list nor an object with one of {', '.join(ROOTS)}")
    return [_marked(record, doubled) for record in content] if doubled else content


def _rows_of_object(content: dict[str, Any], pairs: list[tuple[str, Any]]) -> object:
    """The list of rows in a file's root object, whose keys and values are `pairs` where a key stands twice."""
    lists = [(key, value) for key, value in pairs or content.items() if key in ROOTS and isinstance(value, list)]
    lists.sort(key=lambda pair: ROOTS.index(pair[0]))
    questions = [(key, value) for key, value in lists if any(map(_is_question, value))]
    if len(questions) > 1:
        raise BadQuestions(
            "no_rows", f"holds several lists of rows ({', '.join(key for key, _ in questions)}): join them"
        )
    return (questions or lists)[0][1] if lists else None


def _is_question(record: object) -> bool:
    return isinstance(record, dict) and "Question" in record


def _marked(record: object, doubled: dict[int, list[tuple[str, Any]]]) -> object:
    """`record`, or `DoubledKeys` of it where an object in it has a key twice."""
    keys: list[str] = []
    inside = [record]
    for value in inside:  # grows while it is walked
        if isinstance(value, dict):
            names = [key for key, _ in doubled.get(id(value), ())]
            keys += [key for key in value if names.count(key) > 1] if names else []
            inside += value.values()
        elif isinstance(value, list):
            inside += value
    if not keys or not isinstance(record, dict):
        return record
    pairs = doubled.get(id(record), record.items())
    text = ", ".join(f"{record_text(key)}: {record_text(value)}" for key, value in pairs)
    return DoubledKeys(record, keys, f"{{{text}}}"[:RECORD_LENGTH])


def is_unicode(value: object) -> bool:
    """Whether all text in a JSON value can be written as UTF-8."""
    parts = [*value, *value.values()] if isinstance(value, dict) else [value]
    other = [part for part in parts if not (isinstance(part, str) and part.isascii())]  # the encoder is slow to start
    try:
        if other:
            _ENCODER.encode(other).encode("utf-8")
    except UnicodeEncodeError:
        return False
    except (RecursionError, ValueError):
        return True  # nested too deeply or too long a number: another check names that
    return True


def record_text(record: object) -> str:
    """JSON of a raw row as it stands, at most 2,000 characters; what is not valid Unicode is escaped."""
    if isinstance(record, DoubledKeys):
        return record.text
    try:
        text = json.dumps(record, ensure_ascii=False)
    except (RecursionError, ValueError):
        return "(nested too deeply, or holding too long a number, to be shown)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")[:RECORD_LENGTH]
