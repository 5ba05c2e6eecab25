"""Entities as models write them: lines of `TYPE: WORDS`, or JSON; see `tasks.entities.mentions`.

Words that the text does not hold, or not so often, are an entity without a place: a wrong one.
"""

import re

from workflow_scripts.core.answers import Value
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.entities.lines import EDGES, LONGEST_ANSWER, entities_strictly, json_entities, type_named
from workflow_scripts.tasks.entities.mentions import Entity, MentionReader, in_order, value_of
from workflow_scripts.tasks.language.text import EMPTY_ANSWER

_BULLET = re.compile(r"^\s*(?:[-*•]\s+|\(?[0-9]{1,3}[.)]\s+)")


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """The word none; or lines that are all `TYPE: WORDS`, or JSON objects; or one JSON list of these."""
    entities = entities_strictly(expected, text)
    return None if entities is None else [value_of(entity) for entity in in_order(entities)]


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The lines that name an entity, in any case, behind bullets and between quotation marks; other lines are left out.

    What is read strictly is read the same.
    """
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    if expected.text is None or len(text) > LONGEST_ANSWER:
        return None
    reader = MentionReader(expected.text, any_case=True)
    entities = json_entities(expected, text, reader, strict=False)
    if entities is None:
        read = (_meant(expected, line, reader) for line in text.splitlines())
        entities = [entity for entity in read if entity is not None]
    if entities:
        return [value_of(entity) for entity in in_order(entities)]
    return [] if EMPTY_ANSWER.match(text) else None


def reference(row: Row) -> Value:
    """The entities of the row's answer.

    Raises:
        BadFile: it is no answer of this task.
    """
    value = read_strict(row.expected, row.answer)
    if value is None:
        raise BadFile(f"row {row.uid}: its answer holds no entities of its text; convert the data again")
    return value


def _meant(expected: ExpectedFormat, line: str, reader: MentionReader) -> Entity | None:
    line = _BULLET.sub("", line).strip()
    kind, colon, words = line.partition(":")
    named = type_named(expected, kind)
    words = words.strip(EDGES)
    return reader.read(named, words) if colon and named and words else None
