"""Baselines that answer from training rows alone."""

from collections import Counter
from collections.abc import Iterator, Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, always
from workflow_scripts.tasks.entities.documents import Relation
from workflow_scripts.tasks.entities.mentions import NONE, Entity
from workflow_scripts.tasks.relations.documents import entities_in
from workflow_scripts.tasks.relations.lines import lines_of, relations_strictly


def majority(rows: Sequence[Row]) -> Answer:
    """The commonest relation of each two types of entities, where more than half of such neighbours have it.

    Neighbours are, for each entity and each other type, the nearest entity of that type.
    """
    seen: Counter[tuple[str, str]] = Counter()
    related: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        types = {(each.head, each.tail): each.type for each in relations_strictly(row.expected, row.answer) or ()}
        for head, tail, pair in _neighbours(row):
            seen[pair] += 1
            if (head, tail) in types:
                related.setdefault(pair, Counter())[types[head, tail]] += 1
    usual = {
        pair: min(named, key=lambda name: (-named[name], name))
        for pair, named in related.items()
        if 2 * max(named.values()) > seen[pair]
    }

    def answer(row: Row) -> str:
        pairs = [(head, tail, usual[pair]) for head, tail, pair in _neighbours(row) if pair in usual]
        return lines_of(Relation(kind, head, tail) for head, tail, kind in pairs)

    return answer


def _neighbours(row: Row) -> Iterator[tuple[str, str, tuple[str, str]]]:
    """Names and types of each entity and the nearest of each other type."""
    known = entities_in(row.expected.text or "")
    for head, entity in known.items():
        nearest: dict[str, tuple[int, str]] = {}
        for tail, other in known.items():
            if tail != head and other.type != entity.type:
                far = _distance(entity, other), tail
                nearest[other.type] = min(nearest.get(other.type, far), far)
        for kind, (_, tail) in nearest.items():
            yield head, tail, (entity.type, kind)


def _distance(one: Entity, other: Entity) -> int:
    return max(0, one.spans[0][0] - other.spans[-1][1], other.spans[0][0] - one.spans[-1][1])


def empty(rows: Sequence[Row]) -> Answer:
    """No relation."""
    return always(NONE)


def constant(rows: Sequence[Row]) -> Answer:
    """No relation: no other answer fits every text."""
    return always(NONE)


def answer_of(row: Row, asking: Row) -> str:
    """The relations of a training row whose names the other row lists too."""
    known = entities_in(asking.expected.text or "")
    relations = relations_strictly(row.expected, row.answer) or ()
    return lines_of(each for each in relations if each.head in known and each.tail in known)
