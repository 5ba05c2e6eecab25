"""The question about the entities of an annotated text."""

from collections.abc import Sequence
from typing import Any

from workflow_scripts.tasks.entities.documents import TYPES, AnnotatedText, question_about
from workflow_scripts.tasks.entities.mentions import in_order

INSTRUCTION = (
    "Which entities does the text name? Write one a line, as TYPE: WORDS OF THE TEXT, in the order of the text; "
    "none where there are none."
)


def types_of(text: AnnotatedText) -> set[str]:
    """The types that are annotated in a text."""
    return {entity.type for entity in text.entities.values()}


def question_of(text: AnnotatedText, types: Sequence[str], instruction: str) -> tuple[str, Any]:
    """Question and answer: the entities of these types."""
    entities = in_order(entity for entity in text.entities.values() if entity.type in types)
    answer = [
        {
            "type": entity.type,
            "spans": [list(span) for span in entity.spans],
            "text": " ".join(text.text[start:end] for start, end in entity.spans),
        }
        for entity in entities
    ]
    return question_about(text.text, instruction, f"{TYPES} {'; '.join(types)}"), answer
