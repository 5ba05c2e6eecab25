"""Names in a text, such as labels or options: where they stand, and whether the text affirms or denies them."""

import re
from bisect import bisect_left
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

from workflow_scripts.tasks.language.polarity import REACH, WINDOW, Polarity, cue_positions, said_after, said_before
from workflow_scripts.tasks.language.text import lowered

MOST = 1000
"""Mentions that are looked at."""
_AND = re.compile(r"[\s\"'*]*,?\s*(?:\b(?:and|or|nor)\b|&)\s*(?:an?\s+|the\s+)?[\"'*]*", re.IGNORECASE)
_OR = re.compile(r"[\"'*]*,?\s+or\s+(?:an?\s+|the\s+)?[\"'*]*", re.IGNORECASE)
_COMMA = re.compile(r"[\"'*]*,\s*(?:an?\s+|the\s+)?[\"'*]*", re.IGNORECASE)
_HEAD = re.compile(r"[\"'*]{0,4}:")


class Mention(NamedTuple):
    """One place where a text names something."""

    name: str
    start: int
    end: int
    polarity: Polarity


class Place(NamedTuple):
    """Where a text holds a name."""

    name: str
    start: int
    end: int


class _Names(NamedTuple):
    pattern: re.Pattern[str]
    ordered: tuple[str, ...]


@lru_cache(maxsize=4096)
def _names(names: tuple[str, ...]) -> _Names | None:
    """All names at once, the longest first; spaces, hyphens and underscores are alike, and a plural ending is free."""
    ordered = tuple(sorted({name for name in names if name.strip()}, key=len, reverse=True))
    if not ordered:
        return None
    bodies = "|".join(f"({_body(lowered(name.strip()))})" for name in ordered)
    return _Names(re.compile(rf"(?<![A-Za-z0-9])(?:{bodies})(?:e?s)?(?![A-Za-z0-9])"), ordered)


def _body(name: str) -> str:
    body = re.sub(r"(?:\\?[\s_-])+", r"[\\s_-]+", re.escape(name))
    body = re.sub(r"(?<=[^aeiou])y$", "(?:y|ie)", body)
    return re.sub(r"(?<=[^siu])s$", "", body)


def places_of(names: Sequence[str], text: str) -> list[Place]:
    """Where a text holds `names`, in its order; of overlapping ones the longest."""
    known = _names(tuple(names))
    if known is None:
        return []
    matches = islice(known.pattern.finditer(lowered(text)), MOST)
    return [Place(known.ordered[(match.lastindex or 1) - 1], *match.span()) for match in matches]


def mentions_at(places: Sequence[Place], text: str) -> list[Mention]:
    """The mentions at these places, with what the text says of each: after it, after the last one of a list that it is
    in ("A, B and C are absent"), or before it."""
    cues = cue_positions(text)
    near = [_any_near(cues, place) for place in places]
    after = [said_after(text, place.end) if cued else None for place, cued in zip(places, near, strict=True)]
    listed = [False] * len(places)
    for index in range(len(places) - 2, -1, -1):
        following = after[index + 1]
        if after[index] is None and following is not None and following[0] != "affirmed":
            gap = text[places[index].end : places[index + 1].start]
            if len(gap) < 20 and (_AND.fullmatch(gap) or (listed[index + 1] and _COMMA.fullmatch(gap))):
                after[index], listed[index] = following, True
    mentions = []
    since = 0
    for place, cued, said in zip(places, near, after, strict=True):
        before: Polarity = said_before(text, place.start, since) if cued else "affirmed"
        mentions.append(Mention(*place, before if said is None else said[0]))
        head = _HEAD.match(text, place.end)  # what denies "normal" in "not normal: mass" does not deny the mass
        since = max(since, said[1] if said else 0, head.end() if head else 0)
    ors = [place for place in range(len(places) - 1) if _OR.fullmatch(text, places[place].end, places[place + 1].start)]
    alternatives = {end for place in ors if places[place].name != places[place + 1].name for end in (place, place + 1)}
    return [
        mention._replace(polarity="possible") if mention.polarity == "affirmed" and place in alternatives else mention
        for place, mention in enumerate(mentions)
    ]


def _any_near(cues: list[int], place: Place) -> bool:
    following = bisect_left(cues, place.start - WINDOW)
    return following < len(cues) and cues[following] < place.end + REACH
