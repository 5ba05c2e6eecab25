"""Baselines that answer from training rows alone."""

from collections import Counter
from collections.abc import Sequence

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer, always
from workflow_scripts.tasks.entities.lines import entities_strictly
from workflow_scripts.tasks.entities.mentions import NONE, Entity, Span, lines_of, places_of


def majority(rows: Sequence[Row]) -> Answer:
    """A dictionary: words that are an entity in training rows, with their commonest type, wherever they stand as
    whole words; of overlapping places the longest, of equals the first."""
    counted: dict[str, Counter[str]] = {}
    for row in rows:
        text = row.expected.text or ""
        for entity in entities_strictly(row.expected, row.answer) or ():
            if len(entity.spans) == 1:
                start, end = entity.spans[0]
                counted.setdefault(" ".join(text[start:end].split()), Counter())[entity.type] += 1
    types = {words: min(named, key=lambda name: (-named[name], name)) for words, named in counted.items()}

    def answer(row: Row) -> str:
        text = row.expected.text or ""
        spans = {span: kind for words, kind in types.items() for span in _whole(words, text)}
        taken: list[Span] = []
        for start, end in sorted(spans, key=lambda span: (span[0] - span[1], span)):
            if all(end <= other[0] or other[1] <= start for other in taken):
                taken.append((start, end))
        return lines_of((Entity(spans[span], (span,)) for span in taken), text)

    return answer


def _whole(words: str, text: str) -> list[Span]:
    """Places of words that part no longer word."""

    def cut(place: int) -> bool:
        return 0 < place < len(text) and text[place - 1].isalnum() and text[place].isalnum()

    return [span for span in places_of(words, text) if not cut(span[0]) and not cut(span[1])]


def empty(rows: Sequence[Row]) -> Answer:
    """No entity."""
    return always(NONE)


def constant(rows: Sequence[Row]) -> Answer:
    """No entity: no other answer fits every text."""
    return always(NONE)


def answer_of(row: Row, asking: Row) -> str:
    """The entities of a training row whose words the other row's text holds, at their first places."""
    text, other = row.expected.text or "", asking.expected.text or ""
    entities = []
    for entity in entities_strictly(row.expected, row.answer) or ():
        places = places_of(" ".join(text[entity.spans[0][0] : entity.spans[-1][1]].split()), other)
        entities += [Entity(entity.type, (places[0],))] if places else []
    return lines_of(entities, other)
