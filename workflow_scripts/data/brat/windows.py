"""A long annotated text in windows: cut at ends of sentences and lines, never inside an entity."""

import re
from collections.abc import Iterable, Iterator

from workflow_scripts.tasks.entities.mentions import Entity, Span

_SENTENCE_END = re.compile(r"\n+|(?<=[.!?])[ \t]+(?=[A-Z0-9\"(])|(?<=[.!?;])[ \t]+$", re.MULTILINE)
_SPACE = re.compile(r"\s+")


def windows_of(text: str, entities: Iterable[Entity], longest: int | None) -> Iterator[Span]:
    """Places of the windows, one after another, that hold the whole text; blank ones are left out.

    A window has at most `longest` characters where sentences allow it, else where spaces do; it is longer where one
    entity, in parts or not, is.
    """
    if longest is None or len(text) <= longest:
        yield (0, len(text))
        return
    hulls = sorted((entity.spans[0][0], entity.spans[-1][1]) for entity in entities)
    blocked = bytearray(len(text) + 1)
    for start, end in hulls:
        blocked[start + 1 : end] = b"\1" * (end - start - 1)
    sentences = [match.end() for match in _SENTENCE_END.finditer(text) if not blocked[match.end()]]
    spaces = [match.end() for match in _SPACE.finditer(text) if not blocked[match.end()]]
    start = 0
    while start < len(text):
        end = len(text)
        if end - start > longest:
            end = _last(sentences, start, start + longest) or _last(spaces, start, start + longest) or 0
            if not end:
                end = next((place for place in spaces if place > start + longest), len(text))
        if text[start:end].strip():
            yield (start, end)
        start = end


def _last(places: list[int], above: int, most: int) -> int | None:
    """The last place that is above one and at most another."""
    return max((place for place in places if above < place <= most), default=None)
