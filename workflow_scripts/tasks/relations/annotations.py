"""The question about the relations of an annotated text."""

from collections.abc import Sequence
from typing import Any

from workflow_scripts.tasks.entities.documents import TYPES, AnnotatedText, question_about
from workflow_scripts.tasks.relations.documents import ENTITIES, line_of

INSTRUCTION = (
    "Which relations hold between the entities? Write one a line, as TYPE: HEAD -> TAIL, with the names of the "
    "entities; none where there are none."
)


def types_of(text: AnnotatedText) -> set[str]:
    """The types that are annotated in a text."""
    return {relation.type for relation in text.relations}


def question_of(text: AnnotatedText, types: Sequence[str], instruction: str) -> tuple[str, Any] | None:
    """Question and answer: the relations of these types; None where the text has fewer than two entities."""
    if len(text.entities) < 2:
        return None
    listed = sorted(text.entities.items(), key=lambda item: (item[1].spans, item[0]))
    lines = [line_of(name, entity, text.text) for name, entity in listed]
    answer = [relation._asdict() for relation in text.relations if relation.type in types]
    return question_about(text.text, instruction, f"{TYPES} {'; '.join(types)}", ENTITIES, *lines), answer
