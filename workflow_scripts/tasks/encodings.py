"""The tasks that an encoder can be tuned for: what it reads of a row, and how what it says becomes an answer.

A head gives one output an example. `tokens`: typed spans of the first text. `classes`: one of the labels, of one text
or of two. `number`: a number. `span`: a place in the second text, or None.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, cast

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.entailment import encoding as entailment
from workflow_scripts.tasks.entities import encoding as entities
from workflow_scripts.tasks.entities.examples import Example, Output
from workflow_scripts.tasks.relations import encoding as relations
from workflow_scripts.tasks.similarity import encoding as similarity
from workflow_scripts.tasks.span_qa import encoding as span_qa

Head = Literal["tokens", "classes", "number", "span"]


class Encoding(Protocol):
    """The module `encoding` of a task."""

    HEAD: Head
    MARKS: tuple[str, ...]  # words that the tokenizer has to know

    def learn(self, rows: Sequence[Row]) -> dict[str, Any]:
        """What training rows show, as JSON can hold it; of a head with labels, `labels` among it."""

    def examples(self, row: Row, known: Mapping[str, Any]) -> list[Example]:
        """What is read of a row; what is to be learned of it too, where it is a training row."""

    def answer(self, row: Row, known: Mapping[str, Any], outputs: Sequence[Output]) -> str:
        """The text of the answer, from an output for each example."""


ENCODINGS: dict[str, Encoding] = {
    "entities": cast(Encoding, entities),
    "relations": cast(Encoding, relations),
    "entailment": cast(Encoding, entailment),
    "similarity": cast(Encoding, similarity),
    "span_qa": cast(Encoding, span_qa),
}
"""By the name of the task."""
