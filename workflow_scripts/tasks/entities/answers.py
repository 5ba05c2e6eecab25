"""Entities as a source writes them: places in the question's text, or lines that quote it.

An answer is a list of objects, `type` with `spans` ([[start, end], …]) or with `start` and `end`, and `text` beside
them, which must then be what stands there; or text in the form of `tasks.entities.mentions`. Neither may name a type
that the question does not list.
"""

import json
from collections.abc import Sequence

from workflow_scripts.core.answers import Answer, BadAnswer, Conventions, Fault, Learned, SourceAnswer
from workflow_scripts.core.rows import ExpectedFormat, FormatSource
from workflow_scripts.tasks.entities.documents import text_of, types_in
from workflow_scripts.tasks.entities.lines import entities_strictly
from workflow_scripts.tasks.entities.mentions import NONE, Entity, entity_in, lines_of


def conventions(rows: Sequence[SourceAnswer]) -> list[Learned]:
    """The types that answers name, for questions that list none."""
    named: set[str] = set()
    for row in rows:
        if isinstance(row.raw, list):
            named |= {record["type"] for record in row.raw if isinstance(record, dict) and _is_name(record.get("type"))}
    return [Learned("labels", sorted(named), len(rows), len(rows))] if named else []


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and not {";", "\n"} & set(value)


def expected_format(question: str, conventions: Conventions) -> ExpectedFormat:
    """Types of entities, of the question or of the subset, and the text that they are sought in."""
    types, source = types_in(question), "question"
    if not types and (known := conventions.get("labels")) is not None:
        types, source = tuple(map(str, known.value)) if isinstance(known.value, list) else (), known.source
    return ExpectedFormat(labels=types, sources=(FormatSource("labels", source),), text=text_of(question))


def parse(raw: object, expected: ExpectedFormat) -> Answer:
    """Lines of entities; `none` where the list is empty.

    Raises:
        BadAnswer: there is none, the question has no text, or an entity is not as the text or the types say.
    """
    if expected.text is None:
        raise BadAnswer("no_text", "the question has no line `Text:`, after which the text stands")
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    if isinstance(raw, str):
        entities = entities_strictly(expected, raw)
        if entities is None:
            raise BadAnswer("wrong_answer_type", "a line is not TYPE: WORDS with a type that the question lists")
        absent = next((entity for entity in entities if not entity.spans), None)
        if absent is not None:
            raise BadAnswer("bad_span", f"the text does not hold {absent.words[:80]!r}, or not so often")
    elif isinstance(raw, list):
        entities = [_entity(record, expected, expected.text) for record in raw]
    else:
        raise BadAnswer("wrong_answer_type", f"the answer is {type(raw).__name__}; expected a list or lines")
    return Answer(lines_of(entities, expected.text) if entities else NONE)


def _entity(record: object, expected: ExpectedFormat, text: str) -> Entity:
    entity = entity_in(record, text)
    if entity is None or not isinstance(record, dict):
        raise BadAnswer("bad_span", f"no type with spans inside the text: {json.dumps(record)[:120]}")
    if expected.labels and entity.type not in expected.labels:
        raise BadAnswer("answer_not_an_option", f"{entity.type!r} is none of the types that the question lists")
    there = " ".join(" ".join(text[start:end] for start, end in entity.spans).split())
    if not there:
        raise BadAnswer("bad_span", f"only spaces stand at {list(entity.spans)}")
    if "text" in record and " ".join(str(record["text"]).split()) != there:
        raise BadAnswer("bad_span", f"{str(record['text'])[:60]!r} is not what stands there: {there[:60]!r}")
    return entity


def fault(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Fault | None:
    """Entities that could be parsed go with their text."""
    return None


def repaired(answer: Answer, expected: ExpectedFormat, width: int, height: int) -> Answer | None:
    """Nothing is to be repaired."""
    return answer
