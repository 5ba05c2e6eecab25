"""Annotations in brat's standoff format, and the text that they are places of.

    T1 <tab> Drug 0 7 <tab> aspirin            an entity; of one in parts the places are `0 7;12 19`
    R1 <tab> Strength-Drug Arg1:T2 Arg2:T1     a relation, from Arg1 to Arg2

Events (E), attributes (A, M), notes (#), normalisations (N) and equivalences (*) belong to no task. Every line that is
no entity and no relation here is a `Fault` with its number.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from workflow_scripts.tasks.entities.documents import Relation
from workflow_scripts.tasks.entities.mentions import Entity, Span

BAD, OFF, UNUSED = "bad_annotation", "annotation_off_text", "unused_annotation"
"""Reasons of `data.conversion.reasons`."""

_ENTITY = re.compile(r"(T[^\s:]+)\t([^\s;]+) ([0-9]+ [0-9]+(?:;[0-9]+ [0-9]+)*)\t(.*)")
_RELATION = re.compile(r"(R[^\s:]+)\t(\S+) Arg1:(\S+) Arg2:(\S+)\s*")
_OTHER = {
    "E": "an event",
    "A": "an attribute",
    "M": "an attribute",
    "#": "a note",
    "N": "a normalisation",
    "*": "an equivalence",
}


@dataclass(frozen=True)
class Fault:
    """A line of annotations that is not used."""

    line: int  # from 1
    reason: str
    detail: str
    text: str


@dataclass
class Annotated:
    """What the annotations of one text say, in places of the text as it is used."""

    text: str
    entities: dict[str, Entity] = field(default_factory=dict)
    relations: dict[str, Relation] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class _Version:
    """A text as places may count it, and where each of its places lies in the text as it is used."""

    text: str
    place_of: Callable[[int], int]


def read_standoff(text: str, lines: Sequence[str]) -> Annotated:
    """Read the annotations of a text.

    Places may count a byte order mark, and carriage returns before line ends, or not: whichever most entities agree
    with. The text that is used has neither.

    Args:
        text: as the file has it, decoded, with its line ends.
        lines: of the annotations.
    """
    used = text.removeprefix("\ufeff").replace("\r\n", "\n")
    numbered = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    matches = {line: match for _, line in numbered if (match := _ENTITY.fullmatch(line))}
    version = max(_versions(text), key=lambda each: sum(_agrees(match, each.text) for match in matches.values()))
    read = Annotated(used)
    names: dict[str, str] = {}  # by the name that a line gives: the one by which the thing is called here
    for number, line in sorted(numbered, key=lambda item: (not item[1].startswith("T"), item[0])):
        name = line.partition("\t")[0]
        if line[0] in "TR" and name in names:
            fault: tuple[str, str] | None = (BAD, f"{name[:40]!r} stands there twice; the first is used")
        elif line.startswith("T"):
            names[name] = name
            fault = _add_entity(read, name, matches.get(line), version, names)
        elif line.startswith("R"):
            names[name] = name
            fault = _add_relation(read, name, line, names)
        elif line[0] in _OTHER:
            fault = (UNUSED, f"{_OTHER[line[0]]}: no task asks about it")
        else:
            fault = (BAD, "no line of brat's")
        if fault is not None:
            read.faults.append(Fault(number, *fault, line))
    read.faults.sort(key=lambda each: each.line)
    return read


def _add_entity(
    read: Annotated, name: str, match: re.Match[str] | None, version: _Version, names: dict[str, str]
) -> tuple[str, str] | None:
    """Add an entity, or say why it cannot be used: reason and detail."""
    if match is None:
        return BAD, "an entity is T1, a tab, TYPE START END, a tab, and its words"
    if not _agrees(match, version.text):
        return OFF, _off_text(match, version.text)
    spans = tuple((version.place_of(start), version.place_of(end)) for start, end in _spans(match))
    entity = Entity(match[2], spans)
    same = next((other for other, known in read.entities.items() if known == entity), None)
    if same is not None:
        names[name] = same
        return UNUSED, f"the same entity as {same}, by which it is called here"
    read.entities[name] = entity
    return None


def _add_relation(read: Annotated, name: str, line: str, names: dict[str, str]) -> tuple[str, str] | None:
    """Add a relation, or say why it cannot be used: reason and detail."""
    match = _RELATION.fullmatch(line)
    if match is None:
        return BAD, "a relation is R1, a tab, and TYPE Arg1:T1 Arg2:T2"
    head, tail = (names.get(end, end) for end in (match[3], match[4]))
    if absent := next((end for end in (head, tail) if end not in read.entities), None):
        return BAD, f"{absent} is no entity that could be read"
    if head == tail:
        return BAD, "an entity is related to itself"
    read.relations[name] = Relation(match[2], head, tail)
    return None


def _versions(text: str) -> list[_Version]:
    """The text with everything, without a byte order mark, without carriage returns, and without both."""
    mark = int(text.startswith("\ufeff"))
    ends = [match.start() for match in re.finditer("\r\n", text)]

    def dropped(place: int) -> int:
        """Carriage returns that are dropped before a place of the whole text."""
        low, high = 0, len(ends)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if ends[middle] < place else (low, middle)
        return low

    versions = [_Version(text, lambda place: max(0, place - mark - dropped(place)))]
    if mark:
        versions.append(_Version(text[1:], lambda place: place - dropped(place + 1)))
    if ends:
        versions.append(_Version(text.replace("\r\n", "\n"), lambda place: max(0, place - mark)))
        if mark:
            versions.append(_Version(text[1:].replace("\r\n", "\n"), lambda place: place))
    return versions


def _spans(match: re.Match[str]) -> tuple[Span, ...]:
    numbers = [tuple(map(int, span.split())) for span in match[3].split(";")]
    return tuple((start, end) for start, end in numbers)


def _agrees(match: re.Match[str], text: str) -> bool:
    """Whether an entity's places are in order, inside the text, and hold its words."""
    spans = _spans(match)
    if any(start >= end for start, end in spans) or spans[-1][1] > len(text):
        return False
    if any(first[1] > second[0] for first, second in pairwise(spans)):
        return False
    words = " ".join(text[start:end] for start, end in spans).split()
    return bool(words) and words == match[4].split()


def _off_text(match: re.Match[str], text: str) -> str:
    spans = _spans(match)
    if spans[-1][1] > len(text):
        return f"{spans[-1][1]} lies beyond the text's {len(text)} characters"
    if any(start >= end for start, end in spans):
        return "a span is empty, or ends before it starts"
    there = " ".join(" ".join(text[start:end] for start, end in spans).split())
    if there == " ".join(match[4].split()):
        return "its spans overlap, or are not in the order of the text"
    return f"at these places stands {there[:60]!r}, and not {match[4][:60]!r}"
