"""Relations as a source writes them: a list of objects with `type`, `head` and `tail`, or lines of them."""

import json
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat, FormatSource
from workflow_scripts.tasks.entities.documents import types_in
from workflow_scripts.tasks.relations.documents import from_entities
from workflow_scripts.tasks.relations.lines import fault_of, lines_of, relation_in, relations_strictly


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """The types that answers name, for questions that list none."""
    named = {
        relation.type
        for row in rows
        if isinstance(row.raw, list)
        for relation in map(relation_in, row.raw)
        if relation is not None
    }
    return [Learned("labels", sorted(named), len(rows), len(rows))] if named else []


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Types of relations, of the question or of the subset, and the question's entities with their text."""
    types, source = types_in(question), "question"
    if not types and (known := conventions.get("labels")) is not None:
        types, source = tuple(map(str, known.value)) if isinstance(known.value, list) else (), known.source
    return ExpectedFormat(labels=types, sources=(FormatSource("labels", source),), text=from_entities(question))


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """Lines of relations; `none` where the list is empty.

    Raises:
        BadAnswer: there is none, the question lists no entities, or a relation is none of theirs.
    """
    if expected.text is None:
        raise BadAnswer("no_text", "the question has no line `Entities:` before its text")
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    if isinstance(raw, str):
        relations = relations_strictly(expected, raw)
        if relations is None:
            raise BadAnswer("wrong_answer_type", "a line is not TYPE: HEAD -> TAIL with entities of the question")
        return Answer(lines_of(relations))
    if not isinstance(raw, list):
        raise BadAnswer("wrong_answer_type", f"the answer is {type(raw).__name__}; expected a list or lines")
    relations = []
    for record in raw:
        relation = relation_in(record)
        if relation is None:
            raise BadAnswer("wrong_answer_type", f"no type, head and tail: {json.dumps(record)[:120]}")
        if fault := fault_of(expected, relation):
            raise BadAnswer("answer_not_an_option", fault)
        relations.append(relation)
    return Answer(lines_of(relations))


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """Relations that could be parsed go with their question."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
