"""The tasks whose questions follow from an annotated text: how each asks, and how it answers."""

from collections.abc import Sequence
from typing import Any, Protocol, cast

from workflow_scripts.tasks.entities import annotations as entities
from workflow_scripts.tasks.entities.documents import AnnotatedText
from workflow_scripts.tasks.relations import annotations as relations


class Annotations(Protocol):
    """The module `annotations` of a task."""

    INSTRUCTION: str

    def types_of(self, text: AnnotatedText) -> set[str]:
        """The types that are annotated in a text."""

    def question_of(self, text: AnnotatedText, types: Sequence[str], instruction: str) -> tuple[str, Any] | None:
        """Question, and the answer as a source writes it; None where there is nothing to be asked."""


ANNOTATED = {"entities": cast(Annotations, entities), "relations": cast(Annotations, relations)}
"""By the name of the task."""
