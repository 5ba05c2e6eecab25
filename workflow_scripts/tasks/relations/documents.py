"""The layout of a question about the relations of a text's entities, which it lists by name before the text.

    Which relations hold between the entities? …
    Types: Strength-Drug; Reason-Drug
    Entities:
    T1 Drug 0 7 Aspirin
    T2 Strength 8 13 81 mg

    Text:
    Aspirin 81 mg daily.

A line of an entity has its name, type, places in the text (`0 7`, or `0 7;9 12` of one in parts) and words.
"""

import re
from collections.abc import Mapping
from functools import lru_cache

from workflow_scripts.tasks.entities.documents import before_text
from workflow_scripts.tasks.entities.mentions import Entity, entity_of

ENTITIES = "Entities:"
_LINE = re.compile(r"(\S+) (\S+) ([0-9]+ [0-9]+(?:;[0-9]+ [0-9]+)*) (.+)")
_HEAD = re.compile(rf"^{ENTITIES}[ \t]*\r?\n", re.MULTILINE)


def line_of(name: str, entity: Entity, text: str) -> str:
    """The line that lists an entity of a text."""
    places = ";".join(f"{start} {end}" for start, end in entity.spans)
    words = " ".join(" ".join(text[start:end] for start, end in entity.spans).split())
    return f"{name} {entity.type} {places} {words}"


def from_entities(question: str) -> str | None:
    """A question from its list of entities on; None where it lists none before its text."""
    start = _HEAD.search(question)
    return question[start.start() :] if start and start.end() <= len(before_text(question)) + 2 else None


@lru_cache(maxsize=4096)
def entities_in(listed: str) -> Mapping[str, Entity]:
    """The entities that `from_entities` gives, by their names, in their order."""
    lines = (_LINE.fullmatch(line.strip()) for line in before_text(listed).splitlines())
    return {line[1]: entity_of(f"{line[2]} {line[3]}")._replace(words=line[4]) for line in lines if line}
