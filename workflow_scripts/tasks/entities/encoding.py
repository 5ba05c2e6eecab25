"""Entities for an encoder: tags of words. Of entities that overlap the longest is learned, one in parts as a whole."""

from collections.abc import Mapping, Sequence
from typing import Any

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.entities.examples import Example, Output, TypedSpan
from workflow_scripts.tasks.entities.lines import entities_strictly
from workflow_scripts.tasks.entities.mentions import Entity, lines_of

HEAD = "tokens"
MARKS: tuple[str, ...] = ()


def learn(rows: Sequence[Row]) -> dict[str, Any]:
    """Types of the rows' entities, how many there are, and how many of them tags cannot write."""
    entities = [entity for row in rows for entity in entities_strictly(row.expected, row.answer) or ()]
    written = sum(len(_spans(row)) for row in rows)
    apart = sum(len(entity.spans) > 1 for entity in entities)
    return {
        "labels": sorted({entity.type for entity in entities}),
        "entities": len(entities),
        "overlapping": len(entities) - written,
        "in_parts": apart,
    }


def examples(row: Row, known: Mapping[str, Any]) -> list[Example]:
    """The text with its entities."""
    return [Example(row.expected.text or "", spans=tuple(_spans(row)))]


def answer(row: Row, known: Mapping[str, Any], outputs: Sequence[Output]) -> str:
    """Lines of the entities that were tagged."""
    (spans,) = outputs
    assert isinstance(spans, list)
    return lines_of((Entity(kind, ((start, end),)) for start, end, kind in spans), row.expected.text or "")


def _spans(row: Row) -> list[TypedSpan]:
    """Spans that no longer one overlaps, in the order of the text; of equals the first type counts."""
    entities = entities_strictly(row.expected, row.answer) or []
    spans = sorted(
        ((entity.spans[0][0], entity.spans[-1][1], entity.type) for entity in entities if entity.spans),
        key=lambda span: (span[0] - span[1], span),
    )
    taken: list[TypedSpan] = []
    for span in spans:
        if all(span[1] <= other[0] or other[1] <= span[0] for other in taken):
            taken.append(span)
    return sorted(taken)
