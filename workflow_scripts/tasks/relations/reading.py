"""Relations as models write them: lines of `TYPE: HEAD -> TAIL` with the question's names of entities, or JSON."""

import json
import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.entities.documents import Relation
from workflow_scripts.tasks.language.text import EMPTY_ANSWER, squeezed
from workflow_scripts.tasks.relations.documents import entities_in
from workflow_scripts.tasks.relations.lines import LONGEST_ANSWER, fault_of, relation_in, relations_strictly, value_of

_LINE = re.compile(r"\W*(.+?)\s*:\s*(.+?)\s*(?:->|→|=>|⇒|—>)\s*(.+)")
_JSON = re.compile(r"\[.*\]", re.DOTALL)
_EDGES = " \t*_`\"'“”‘’.,;()[]"


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """The word none; or lines that are all relations of the question; or a JSON list of them."""
    relations = relations_strictly(expected, text)
    return None if relations is None else sorted(map(value_of, relations))


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The lines that are a relation of the question, whatever the arrow and its type's case; entities may be called by
    their words, where one alone has these. Other lines are left out. What is read strictly is read the same.
    """
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    if expected.text is None or len(text) > LONGEST_ANSWER:
        return None
    read = [_meant(expected, *parts) for parts in (_json_parts(text) or _line_parts(text))]
    relations = {relation for relation in read if relation is not None}
    if relations:
        return sorted(map(value_of, relations))
    return [] if EMPTY_ANSWER.match(text) else None


def reference(row: Row) -> Value:
    """The relations of the row's answer.

    Raises:
        BadFile: it is no answer of this task.
    """
    value = read_strict(row.expected, row.answer)
    if value is None:
        raise BadFile(f"row {row.uid}: its answer holds no relations of its entities; convert the data again")
    return value


def _line_parts(text: str) -> list[tuple[str, str, str]]:
    matches = (_LINE.fullmatch(line.strip()) for line in text.splitlines())
    return [(match[1], match[2], match[3]) for match in matches if match]


def _json_parts(text: str) -> list[tuple[str, str, str]]:
    listed = _JSON.search(text)
    try:
        records = json.loads(listed[0]) if listed else []
    except (ValueError, RecursionError):
        return []
    return [
        (relation.type, relation.head, relation.tail) for relation in map(relation_in, records) if relation is not None
    ]


def _meant(expected: ExpectedFormat, kind: str, head: str, tail: str) -> Relation | None:
    kind = kind.strip(_EDGES)
    named = next((label for label in expected.labels if squeezed(label) == squeezed(kind)), None)
    ends = [_name_of(expected, end) for end in (head, tail)]
    if (named is None and expected.labels) or None in ends:
        return None
    relation = Relation(named or kind, str(ends[0]), str(ends[1]))
    return relation if fault_of(expected, relation) is None else None


def _name_of(expected: ExpectedFormat, end: str) -> str | None:
    """The name of the one entity that some words mean: its name, or all its words."""
    known, end = entities_in(expected.text or ""), end.strip(_EDGES)
    if end in known:
        return end
    first = end.split(maxsplit=1)[0] if end else ""
    if first.strip(_EDGES) in known:  # T1 (aspirin)
        return first.strip(_EDGES)
    fitting = [name for name, entity in known.items() if squeezed(entity.words) == squeezed(end)]
    return fitting[0] if len(fitting) == 1 else None
