"""The entities of an answer: lines of `TYPE: WORDS`, or JSON; see `tasks.entities.mentions`."""

import json
import re
from collections.abc import Sequence

from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.entities.mentions import NONE, Entity, MentionReader, entity_in

LONGEST_ANSWER = 200_000
"""Characters; a longer answer is none."""
EDGES = " \t*_`\"'“”‘’"
_JSON = re.compile(r"\[.*\]|\{.*\}", re.DOTALL)


def entities_strictly(expected: ExpectedFormat, text: str) -> list[Entity] | None:
    """The entities of an answer in exactly the expected form; None where it is in another."""
    text = text.strip()
    if expected.text is None or not text or len(text) > LONGEST_ANSWER:
        return None
    if text.rstrip(".").lower() == NONE:
        return []
    reader = MentionReader(expected.text)
    if text.startswith("["):
        return json_entities(expected, text, reader, strict=True)
    entities = []
    for line in filter(None, map(str.strip, text.splitlines())):
        entity = _of_line(expected, line, reader)
        if entity is None:
            return None
        entities.append(entity)
    return entities


def _of_line(expected: ExpectedFormat, line: str, reader: MentionReader) -> Entity | None:
    if line.startswith("{"):
        try:
            return _of_record(expected, json.loads(line), reader, strict=True)
        except (ValueError, RecursionError):
            return None
    if expected.labels:  # a type may hold a colon
        fitting = [label for label in expected.labels if line.startswith(f"{label}:")]
        kind = max(fitting, key=len, default="")
    else:
        kind = line.partition(":")[0]
    words = line[len(kind) + 1 :].strip()
    return reader.read(kind, words) if kind.strip() and words else None


def type_named(expected: ExpectedFormat, kind: str) -> str:
    """The type that a word means whatever its case; empty for none."""
    kind = " ".join(kind.strip(EDGES).split())
    if not expected.labels:
        return kind
    return next((label for label in expected.labels if label.casefold() == kind.casefold()), "")


def json_entities(expected: ExpectedFormat, text: str, reader: MentionReader, *, strict: bool) -> list[Entity] | None:
    """The entities of a JSON list, or of one around which there is other text where that is allowed."""
    match = None if strict else _JSON.search(text)
    try:
        records = json.loads(match[0] if match else text)
    except (ValueError, RecursionError):
        return None
    if isinstance(records, dict):
        records = next((value for value in records.values() if isinstance(value, list)), [records])
    if not isinstance(records, list):
        return None
    read: Sequence[Entity | None] = [_of_record(expected, record, reader, strict=strict) for record in records]
    entities = [entity for entity in read if entity is not None]
    return None if strict and len(entities) < len(read) else entities


def _of_record(expected: ExpectedFormat, record: object, reader: MentionReader, *, strict: bool) -> Entity | None:
    """The entity of an object: a type with places, or with words in `text`."""
    if not isinstance(record, dict) or not isinstance(record.get("type"), str):
        return None
    kind = record["type"] if strict else type_named(expected, record["type"])
    if not kind.strip() or (expected.labels and kind not in expected.labels):
        return None
    words = record.get("text")
    if "spans" not in record and "start" not in record:
        return reader.read(kind, words) if isinstance(words, str) and words.strip() else None
    entity = entity_in(record | {"type": kind}, expected.text or "")
    return entity if entity is not None or strict else Entity(kind, (), str(words or ""))
