"""The relations of an answer: lines of `TYPE: HEAD -> TAIL`, or a JSON list of objects with `type`, `head`, `tail`."""

import json
import re
from collections.abc import Iterable

from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.entities.documents import Relation
from workflow_scripts.tasks.entities.mentions import NONE
from workflow_scripts.tasks.relations.documents import entities_in

LONGEST_ANSWER = 200_000
"""Characters; a longer answer is none."""
_LINE = re.compile(r"(.+?):\s*(\S+)\s*->\s*(\S+)")


def value_of(relation: Relation) -> str:
    """A relation as readers give it: `HEAD TAIL TYPE`."""
    return f"{relation.head} {relation.tail} {relation.type}"


def relation_of(value: str) -> Relation:
    """The relation of a reader's value."""
    head, tail, kind = value.split(" ", 2)
    return Relation(kind, head, tail)


def lines_of(relations: Iterable[Relation]) -> str:
    """Relations as lines; `none` where there are none."""
    return "\n".join(f"{each.type}: {each.head} -> {each.tail}" for each in dict.fromkeys(relations)) or NONE


def fault_of(expected: ExpectedFormat, relation: Relation) -> str | None:
    """Why a relation cannot be one of the question's; None where it can."""
    known = entities_in(expected.text or "")
    if absent := next((name for name in (relation.head, relation.tail) if name not in known), None):
        return f"{absent!r} is no entity that the question lists"
    if expected.labels and relation.type not in expected.labels:
        return f"{relation.type!r} is none of the types that the question lists"
    return f"{relation.head!r} is related to itself" if relation.head == relation.tail else None


def relation_in(record: object) -> Relation | None:
    """The relation of a JSON object; None for another."""
    if not isinstance(record, dict) or not all(isinstance(record.get(key), str) for key in Relation._fields):
        return None
    parts = [record[key].strip() for key in Relation._fields]
    return Relation(*parts) if all(parts) and not any(" " in name for name in parts[1:]) else None


def relations_strictly(expected: ExpectedFormat, text: str) -> list[Relation] | None:
    """The relations of an answer in exactly the expected form, each once; None where it is in another."""
    text = text.strip()
    if expected.text is None or not text or len(text) > LONGEST_ANSWER:
        return None
    if text.rstrip(".").lower() == NONE:
        return []
    if text.startswith("["):
        try:
            records = json.loads(text)
        except (ValueError, RecursionError):
            return None
        read = [relation_in(record) for record in records] if isinstance(records, list) else [None]
    else:
        matches = [_LINE.fullmatch(line.strip()) for line in text.splitlines() if line.strip()]
        read = [Relation(match[1].strip(), match[2], match[3]) if match else None for match in matches]
    relations = [relation for relation in read if relation is not None and fault_of(expected, relation) is None]
    return list(dict.fromkeys(relations)) if len(relations) == len(read) else None
