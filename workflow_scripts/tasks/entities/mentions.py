"""Entities of a text as a model writes them, one a line, and as places in the text.

    Drug: aspirin
    Problem: pain … left leg
    Drug: aspirin #3

A line is a type, a colon, and words of the text. Which place is meant follows from one rule. The places of some words
are those where they stand as whole words, in the order of the text, and then those inside longer words; any run of
spaces and line ends counts as one space. The first line with this type and these words means the first place, the
second the second, and so on; a number after `#` says which place is meant instead. Words that stand apart are parted by
` … `: each part after the first means its first place after the part before it. Where no line of this form can say
what is meant, a line is a JSON object: {"type": "Drug", "spans": [[12, 19]]}.

So every set of entities can be written, nested, overlapping and discontinuous ones too, and is read back as it was.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import islice, pairwise
from typing import NamedTuple

Span = tuple[int, int]
"""Start and end in characters; the end is excluded."""

GAP = " … "
NONE = "none"
MOST_PLACES = 2000
"""Places of the same words that are looked for in one text."""

_NUMBERED = re.compile(r"(.*\S) #([1-9][0-9]{0,3})")
_VALUE = re.compile(r"(.+) ([0-9]+ [0-9]+(?:;[0-9]+ [0-9]+)*)", re.DOTALL)


class Entity(NamedTuple):
    """A typed mention. Without a span: words that the text does not hold."""

    type: str
    spans: tuple[Span, ...]  # in order, apart from one another
    words: str = ""  # as they were written, where there is no span


def value_of(entity: Entity) -> str:
    """An entity as readers give it: `TYPE START END;START END`, or `TYPE ? WORDS` where the text lacks the words."""
    if not entity.spans:
        return f"{entity.type} ? {entity.words}"
    return f"{entity.type} {';'.join(f'{start} {end}' for start, end in entity.spans)}"


@lru_cache(maxsize=65_536)
def entity_of(value: str) -> Entity:
    """The entity of a reader's value."""
    read = _VALUE.fullmatch(value)
    if read is None:
        kind, _, words = value.partition(" ? ")
        return Entity(kind, (), words)
    numbers = [tuple(map(int, span.split())) for span in read[2].split(";")]
    return Entity(read[1], tuple((start, end) for start, end in numbers))


@lru_cache(maxsize=8192)
def places_of(words: str, text: str, any_case: bool = False) -> tuple[Span, ...]:
    """Where words stand in a text: as whole words first, then inside longer ones; overlapping places too."""
    pattern = r"\s+".join(map(re.escape, words.split()))
    if not pattern:
        return ()
    matches = re.finditer(f"(?=({pattern}))", text, re.IGNORECASE if any_case else re.NOFLAG)
    spans = [match.span(1) for match in islice(matches, MOST_PLACES)]
    whole = [span for span in spans if not (_cuts_word(text, span[0]) or _cuts_word(text, span[1]))]
    return (*whole, *(span for span in spans if span not in set(whole)))


def _cuts_word(text: str, place: int) -> bool:
    return 0 < place < len(text) and _is_word(text[place - 1]) and _is_word(text[place])


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


class MentionReader:
    """Reads lines of one answer in their order: the n-th line with the same words means their n-th place."""

    def __init__(self, text: str, any_case: bool = False) -> None:
        self._text, self._any_case = text, any_case
        self._lines: Counter[tuple[str, str]] = Counter()

    def peek(self, kind: str, words: str) -> Entity:
        """The entity that the next line of this type and these words means."""
        words = " ".join(words.split())
        spans: list[Span] = []
        for part in [words] if self._places(words) else words.split(GAP):  # a text may hold a gap or a number itself
            span = self._place(part, spans, self._lines[kind, words])
            if span is None:
                return Entity(kind, (), words)
            spans.append(span)
        return Entity(kind, tuple(spans))

    def read(self, kind: str, words: str) -> Entity:
        """The entity that a line means; the line counts."""
        entity = self.peek(kind, words)
        self._lines[kind, " ".join(words.split())] += 1
        return entity

    def _place(self, part: str, before: Sequence[Span], lines: int) -> Span | None:
        places = self._places(part)
        if not places and (numbered := _NUMBERED.fullmatch(part)):
            places, number = self._places(numbered[1]), int(numbered[2])
            return places[number - 1] if number <= len(places) else None
        if before:
            return min((place for place in places if place[0] >= before[-1][1]), default=None)
        return places[lines] if lines < len(places) else None

    def _places(self, words: str) -> tuple[Span, ...]:
        return places_of(words, self._text) or (places_of(words, self._text, True) if self._any_case else ())


def in_order(entities: Iterable[Entity]) -> list[Entity]:
    """Entities as they stand in the text, each once."""
    return sorted(set(entities), key=lambda entity: (entity.spans, entity.type, entity.words))


def lines_of(entities: Iterable[Entity], text: str) -> str:
    """Entities with spans as lines that are read back to the same entities; `none` where there are none."""
    reader = MentionReader(text)
    lines = []
    for entity in in_order(entities):
        parts = [" ".join(text[start:end].split()) for start, end in entity.spans]
        forms = [GAP.join(parts), GAP.join(map(_numbered, parts, entity.spans, [text] * len(parts)))]
        words = next((form for form in forms if form and reader.peek(entity.type, form) == entity), None)
        if words is None or entity.type.startswith("{"):
            lines.append(json.dumps({"type": entity.type, "spans": entity.spans}, ensure_ascii=False))
        else:
            reader.read(entity.type, words)
            lines.append(f"{entity.type}: {words}")
    return "\n".join(lines) or NONE


def _numbered(part: str, span: Span, text: str) -> str:
    places = places_of(part, text)
    return f"{part} #{places.index(span) + 1}" if span in places else part


def entity_in(record: object, text: str) -> Entity | None:
    """The entity of a JSON object: `type` with `spans` ([[start, end], …]) or `start` and `end`; None for another."""
    if not isinstance(record, dict) or not isinstance(record.get("type"), str) or not record["type"].strip():
        return None
    spans = record.get("spans", [[record.get("start"), record.get("end")]])
    if not isinstance(spans, list) or not spans or not all(_is_span(span, text) for span in spans):
        return None
    ordered = sorted((int(start), int(end)) for start, end in spans)
    if any(first[1] > second[0] for first, second in pairwise(ordered)):
        return None
    return Entity(record["type"].strip(), tuple(ordered))


def _is_span(span: object, text: str) -> bool:
    if not isinstance(span, list | tuple) or len(span) != 2 or not all(type(place) is int for place in span):
        return False
    start, end = span
    return 0 <= int(start) < int(end) <= len(text)
