"""Relations for an encoder: each two entities that may be related, marked in their text, are one example.

Marks stand around both, as is usual for clinical relation extraction: [S1] head [E1], [S2] tail [E2]. Which types of
entities may be related, and at which distance, training rows show.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.entities.documents import Relation, text_of
from workflow_scripts.tasks.entities.examples import Example, Output
from workflow_scripts.tasks.entities.mentions import Entity
from workflow_scripts.tasks.relations.documents import entities_in
from workflow_scripts.tasks.relations.lines import lines_of, relations_strictly

HEAD = "classes"
MARKS = ("[S1]", "[E1]", "[S2]", "[E2]")
NO_RELATION = "no relation"
AROUND = 200
"""Characters before and after the two entities that are read with them."""


def learn(rows: Sequence[Row]) -> dict[str, Any]:
    """Types of relations, pairs of types of entities that have one, and the widest distance in characters."""
    pairs, reach, types = set(), 0, set()
    for row in rows:
        known = entities_in(row.expected.text or "")
        for relation in relations_strictly(row.expected, row.answer) or ():
            head, tail = known[relation.head], known[relation.tail]
            types.add(relation.type)
            pairs.add((head.type, tail.type))
            reach = max(reach, _distance(head, tail))
    return {"labels": [NO_RELATION, *sorted(types)], "pairs": sorted(map(list, pairs)), "reach": reach}


def examples(row: Row, known: Mapping[str, Any]) -> list[Example]:
    """An example for each two entities that may be related, in the order of their names."""
    related = {(each.head, each.tail): each.type for each in relations_strictly(row.expected, row.answer) or ()}
    entities, text = entities_in(row.expected.text or ""), text_of(row.expected.text or "") or ""
    return [
        Example(_marked(text, entities[head], entities[tail]), label=related.get((head, tail), NO_RELATION))
        for head, tail in _candidates(row, known)
    ]


def answer(row: Row, known: Mapping[str, Any], outputs: Sequence[Output]) -> str:
    """Lines of the relations that were named."""
    pairs = zip(_candidates(row, known), outputs, strict=True)
    return lines_of(Relation(str(label), head, tail) for (head, tail), label in pairs if label != NO_RELATION)


def _candidates(row: Row, known: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    entities = entities_in(row.expected.text or "")
    for head, one in entities.items():
        for tail, other in entities.items():
            near = head != tail and _distance(one, other) <= known["reach"]
            if near and [one.type, other.type] in known["pairs"]:
                yield head, tail


def _distance(one: Entity, other: Entity) -> int:
    return max(0, one.spans[0][0] - other.spans[-1][1], other.spans[0][0] - one.spans[-1][1])


def _marked(text: str, head: Entity, tail: Entity) -> str:
    """The text around two entities with marks before and after each, one in parts as a whole."""
    hulls = [(entity.spans[0][0], entity.spans[-1][1]) for entity in (head, tail)]
    low = max(0, min(start for start, _ in hulls) - AROUND)
    high = min(len(text), max(end for _, end in hulls) + AROUND)
    marks: list[tuple[int, int, str]] = []
    for number, (start, end) in enumerate(hulls):
        marks += [(start, 1, MARKS[2 * number]), (end, 0, MARKS[2 * number + 1])]
    parts, place = [], low
    for at, _, mark in sorted(marks):
        parts += [text[place:at], f" {mark} "]
        place = at
    return "".join([*parts, text[place:high]])
