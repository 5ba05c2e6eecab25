"""Files of predictions of other projects: JSON lines, JSON or CSV, each entry read to an `Entry`, none left out.

An entry says which row it answers by `uid`, or by FLARE's `ImageName` and `Question`, and answers it in `prediction`
or `Answer`. A JSON file may also be one object of key → answer.
"""

import csv
import io
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from workflow_scripts.core.files import BadFile, is_unicode, loads

ANSWERS = ("prediction", "Answer")
"""Fields that hold the answer, the first that is there; a question file's own `Answer` stands beside a prediction."""


@dataclass(frozen=True)
class Entry:
    """One entry of a file: the names of the row that it answers, best first, and its text, or what is wrong with it."""

    place: int  # from 1: the line of JSON lines, else the entry
    names: tuple[str, ...]
    text: str
    fault: str | None = None  # unreadable, no_key, no_prediction, bad_text


def challenge_key(image_name: str | list[str], question: str) -> str:
    """FLARE's join key of a question; `image_name` exactly as the question file has it."""
    return f"{image_name}||{question}"


def read_predictions(path: Path) -> list[Entry]:
    """Every entry of a file of predictions; one that cannot be used has a `fault`.

    Raises:
        BadFile: the file as a whole cannot be read.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadFile(f"{path} cannot be read: {error.strerror}; give a file of predictions") from None
    except UnicodeDecodeError as error:
        raise BadFile(f"{path} is not valid UTF-8: {error.reason} at byte {error.start}; save it as UTF-8") from None
    match path.suffix.lower():
        case ".jsonl":
            return list(_lines(text))
        case ".json":
            return list(_entries(path, text))
        case ".csv":
            return list(_table(path, text))
    raise BadFile(f"{path}: expected a name that ends in .jsonl, .json or .csv")


class _Twice:
    """An object in which a key stands twice: choosing one value would be a guess. JSON cannot write it."""

    def __init__(self, pairs: list[tuple[str, object]]) -> None:
        self.pairs = pairs


def _object(pairs: list[tuple[str, object]]) -> dict[str, object] | _Twice:
    by_key = dict(pairs)
    return by_key if len(by_key) == len(pairs) else _Twice(pairs)


def _lines(text: str) -> Iterator[Entry]:
    for place, line in enumerate(text.split("\n"), start=1):  # JSON strings may hold other line separators
        if not line.strip():
            continue
        try:
            record = loads(line, _object)
        except (ValueError, RecursionError):
            yield Entry(place, (), line, "unreadable")
        else:
            yield _from_record(place, record)


def _entries(path: Path, text: str) -> Iterator[Entry]:
    try:
        root = loads(text, _object)
    except RecursionError:
        raise BadFile(f"{path} is nested too deeply; expected a list of records or an object of key → answer") from None
    except ValueError as error:
        raise BadFile(f"{path} is not valid JSON ({error}); name JSON lines .jsonl") from None
    if isinstance(root, list):
        for place, record in enumerate(root, start=1):
            yield _from_record(place, record)
    elif isinstance(root, dict | _Twice):
        pairs = root.pairs if isinstance(root, _Twice) else list(root.items())
        for place, (name, value) in enumerate(pairs, start=1):
            yield _answered(place, (name,), value)
    else:
        raise BadFile(f"{path} holds {type(root).__name__}; expected a list of records or an object of key → answer")


def _table(path: Path, text: str) -> Iterator[Entry]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        fields = list(reader.fieldnames or [])
        named = "uid" in fields or {"ImageName", "Question"} <= set(fields)
        if not named or not set(ANSWERS) & set(fields) or len(set(fields)) < len(fields):
            raise BadFile(
                f"{path}: expected a header with uid or ImageName,Question, and prediction, each once; "
                f"found {','.join(fields)[:200] or 'none'}"
            )
        for place, row in enumerate(reader, start=1):
            if None in row or None in row.values():
                yield Entry(place, (), json.dumps(row, ensure_ascii=False, default=str), "unreadable")
            else:
                yield _from_record(place, row)
    except csv.Error as error:
        raise BadFile(f"{path} is not valid CSV after line {reader.line_num}: {error}") from None


def _from_record(place: int, record: object) -> Entry:
    """The entry of one record."""
    if not isinstance(record, dict):
        return Entry(place, (), _text(record) or "", "unreadable")
    uid, images, question = (record.get(field) for field in ("uid", "ImageName", "Question"))
    names = [uid] if isinstance(uid, str) and uid else []
    if isinstance(question, str) and (isinstance(images, str) or _is_text_list(images)):
        names.append(challenge_key(cast(str | list[str], images), question))
    answer = next((record[field] for field in ANSWERS if field in record), None)
    return _answered(place, tuple(names), answer)


def _is_text_list(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _answered(place: int, names: tuple[str, ...], answer: object) -> Entry:
    text = answer if isinstance(answer, str) else _text(answer)
    if text is None:
        return Entry(place, names, "", "unreadable")
    if answer is None:
        return Entry(place, names, "", "no_prediction")
    if not names:
        return Entry(place, names, text, "no_key")
    return Entry(place, names, text, None if is_unicode(text) else "bad_text")


def _text(value: object) -> str | None:
    """JSON of a value; None where a key stands twice in it, or it is nested too deeply to be written."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, RecursionError):
        return None
