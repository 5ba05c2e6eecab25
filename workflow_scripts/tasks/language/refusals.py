"""How models decline to answer or say that they cannot decide, and how far that reaches in a text."""

import re

from workflow_scripts.tasks.language.text import lowered

REFUSAL = re.compile(
    r"\b(?:i(?: am|'m|’m)? (?:can ?not|can(?:'|’)t|could not|unable|not able|sorry)\b|(?:it is|it's) (?:im"
    r"|not )possible to|"
    r"i (?:do not|don(?:'|’)t) know\b|(?:un|not )able to (?:answer|determine|provide|assess|calculate|count|measure"
    r"|give)|"
    r"as an ai\b|can(?:no|')t be determined|beyond my (?:abilit|capabilit)\w+|(?:not enough|insufficient) information)",
    re.IGNORECASE,
)
"""How models decline; what follows it is no answer unless it says so."""

_UNDECIDED = re.compile(
    r"\b(?:(?:hard|difficult|impossible|not possible) to (?:\w+ly )?"
    r"(?:say|tell|classify|determine|distinguish|differentiate|decide|assess|judge|count|measure)"
    r"|(?:can ?not|can(?:'|’)t|could not) (?:\w+ly )?"
    r"(?:tell|say|decide|determine|classify|distinguish|be (?:classified|counted|measured|calculated|assessed|read"
    r"|sure|certain))"
    r"|(?:unclear|not clear) (?:whether|if|which)|(?:both|either)(?: of (?:them|these))? (?:is|are) possible)",
    re.IGNORECASE,
)
_CANNOT_CHOOSE = re.compile(
    r"\b(?:can ?not|can(?:'|’)t|could not|unable to|not able to) (?:choose|select|decide|pick)\b", re.IGNORECASE
)
_TURNS = (
    r"\b(?:(?:but|however|nevertheless|nonetheless|that said)\b(?!,? (?:i|we) (?:can|could|will|would)\b)"
    r"|best (?:guess|estimate)|most likely|if i (?:had|have) to)\b"
)
_TURN = re.compile(_TURNS, re.IGNORECASE)
_TURN_OR_STOP = re.compile(rf"{_TURNS}|[.!?](?=\s)|\n|;", re.IGNORECASE)
_ANY_DECLINING = (
    *("can't", "can’t", "cannot", "can not", "could not", "able", "sorry", "possible", " know", "as an ai", "abilit"),
    *("information", "hard", "difficult", "clear"),
)
"""One of these stands in every text that declines: plain search for them is quick."""
_MOST_SPANS = 50


def declined_spans(text: str) -> list[tuple[int, int]]:
    """The parts of a text that decline or do not decide, each up to where the text turns to an answer after all.

    A refusal reaches beyond its sentence, doubt does not. Who cannot choose declines all that was listed before, too.
    """
    plain = lowered(text)
    if not any(word in plain for word in _ANY_DECLINING):
        return []
    spans: list[tuple[int, int]] = []
    position = 0
    while len(spans) < _MOST_SPANS:
        matches = [match for pattern in (REFUSAL, _UNDECIDED) if (match := pattern.search(text, position))]
        if not matches:
            break
        first = min(matches, key=lambda match: match.start())
        turn = (_TURN if first.re is REFUSAL else _TURN_OR_STOP).search(text, first.end())
        spans.append((first.start(), turn.start() if turn else len(text)))
        if turn is None:
            break
        position = turn.end()
    choice = _CANNOT_CHOOSE.search(text)
    return [(0, choice.end()), *spans] if choice else spans


def lies_in(spans: list[tuple[int, int]], position: int) -> bool:
    """Whether a position lies in one of the spans."""
    return any(start <= position < end for start, end in spans)
