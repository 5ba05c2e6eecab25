"""Entities as tags of words: B-TYPE for the first word, I-TYPE for those after it, O for all others.

Tags that no entities could give are read as `conlleval` reads them (Tjong Kim Sang and De Meulder 2003): an I-TYPE that
follows no B or I of its type begins an entity.
"""

from collections.abc import Iterable, Sequence

from workflow_scripts.tasks.entities.examples import TypedSpan

OUTSIDE = "O"


def tags(types: Iterable[str]) -> list[str]:
    """Every tag of these types: O first."""
    return [OUTSIDE, *(f"{mark}-{name}" for name in types for mark in "BI")]


def tags_of(words: Sequence[tuple[int, int]], spans: Iterable[TypedSpan]) -> list[str]:
    """A tag for each word, by places of words in the text; a word that a span cuts belongs to it."""
    named = [OUTSIDE] * len(words)
    for start, end, kind in spans:
        inside = [place for place, (first, last) in enumerate(words) if first < end and start < last]
        for place in inside:
            named[place] = f"{'B' if place == inside[0] else 'I'}-{kind}"
    return named


def spans_of(named: Sequence[str]) -> list[TypedSpan]:
    """Entities of tags: number of the first word, of the one after the last, and type."""
    spans: list[TypedSpan] = []
    start, current = 0, ""
    for place, tag in enumerate([*named, OUTSIDE]):
        mark, _, kind = tag.partition("-")
        if current and (mark != "I" or kind != current):
            spans.append((start, place, current))
            current = ""
        if mark == "B" or (mark == "I" and not current):
            start, current = place, kind
    return spans
