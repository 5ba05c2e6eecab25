"""Whether a text affirms a keyword: NegEx over the phrases of a text, as the evaluator of MIMIC-CDM uses it.

That evaluator takes phrases from a statistical recogniser of biomedical terms (scispaCy's `en_core_sci_lg`) and lets
negspacy's NegEx say which are denied. Here phrases are runs of words between punctuation, stop words and phrases of
NegEx. A keyword that stands in no phrase counts as affirmed, there as here.
"""

import re
from bisect import bisect_left, bisect_right
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import yaml

_TERMS = Path(__file__).parent / "negation.yaml"
_TOKEN = re.compile(r"[a-z]+n['’]t\b|[0-9]+\.[0-9]+|[a-z0-9]+|[^\sa-z0-9]")
_WORD = r"(?:[0-9]+\.[0-9]+|[a-z0-9]+)(?:['’-][a-z0-9]+)*"
_RUN = re.compile(rf"{_WORD}(?: {_WORD})*")
_SENTENCE_END = re.compile(r"[.!?](?=\s|$)|(?<=[a-z])\.(?=[A-Z])")
_STOP_WORDS = frozenset(
    (
        *("a", "an", "the", "of", "for", "in", "on", "to", "with", "from", "by", "at", "as", "and", "or", "is"),
        *("are", "was", "were", "be", "been", "being", "has", "have", "had", "he", "she", "it", "they", "his"),
        *("her", "their", "its", "this", "that", "these", "those", "there", "i", "we", "you", "if", "then", "than"),
        *("so", "do", "does", "did", "will", "would", "can", "could", "should", "may", "might", "must", "also"),
        *("about", "into", "after", "before", "during", "until", "since", "because", "while", "due"),
    )
)


class _Phrase(NamedTuple):
    text: str
    denied: bool


class _Terms(NamedTuple):
    pseudo: tuple[tuple[str, ...], ...]
    preceding: tuple[tuple[str, ...], ...]
    following: tuple[tuple[str, ...], ...]
    ending: tuple[tuple[str, ...], ...]
    words: frozenset[str]  # of denials and endings that are one word: no phrase holds them


def is_affirmed(text: str, keyword: str) -> bool:
    """Whether `text` holds `keyword`, in whatever letter case, in a phrase that is not denied, or in none.

    The first phrase that holds it decides.
    """
    keyword = keyword.lower()
    lowered = text.lower()
    if keyword not in lowered:
        return False
    return next((not phrase.denied for phrase in _judged(text) if keyword in phrase.text), True)


def phrases_of(text: str) -> list[tuple[int, int]]:
    """Where the phrases of a text stand: runs of words without stop words and words of denial."""
    terms, places = _terms(), []
    for run in _RUN.finditer(text.lower()):
        start = end = None
        for word in re.finditer(r"[^ ]+", run[0]):
            if word[0] in _STOP_WORDS or word[0] in terms.words or word[0].endswith(("n't", "n’t")):
                if start is not None and end is not None:
                    places.append((run.start() + start, run.start() + end))
                start = None
                continue
            start = word.start() if start is None else start
            end = word.end()
        if start is not None and end is not None:
            places.append((run.start() + start, run.start() + end))
    return places


@lru_cache(maxsize=4096)
def _judged(text: str) -> tuple[_Phrase, ...]:
    """The phrases of a text, and which of them are denied.

    A denial reaches what follows it, or what it follows, up to the sentence's end or a phrase that ends its reach. A
    phrase that begins with "no" is denied.
    """
    terms, lowered = _terms(), text.lower()
    tokens = [(match[0].replace("’", "'"), match.start(), match.end()) for match in _TOKEN.finditer(lowered)]
    words = [token[0] for token in tokens]
    pseudo = _matches(words, terms.pseudo)

    def counted(sequences: tuple[tuple[str, ...], ...]) -> list[tuple[int, int]]:
        matches = _matches(words, sequences)
        return [match for match in matches if not any(start <= match[0] <= end for start, end in pseudo)]

    preceding, following = counted(terms.preceding), counted(terms.following)
    limits = sorted({*_sentence_starts(text, tokens), *(start for start, _ in counted(terms.ending)), len(tokens)})
    starts, first_preceding = [token[1] for token in tokens], [begin for begin, _ in preceding]
    judged = []
    for start, end in phrases_of(text):
        first, past = bisect_left(starts, start), bisect_left(starts, end)
        place = bisect_right(limits, first)
        low, high = limits[place - 1], limits[min(place, len(limits) - 1)]
        nearest = bisect_left(first_preceding, first) - 1
        phrase = lowered[start:end]
        denied = past <= high and (
            (nearest >= 0 and first_preceding[nearest] >= low)
            or any(low <= begin < high and past < stop for begin, stop in following)
            or phrase.startswith("no")
        )
        judged.append(_Phrase(phrase, denied))
    return tuple(judged)


def _matches(words: list[str], sequences: tuple[tuple[str, ...], ...]) -> list[tuple[int, int]]:
    """Where sequences of words stand: first word and the one after the last."""
    return [
        (place, place + len(sequence))
        for place in range(len(words))
        for sequence in sequences
        if words[place] == sequence[0] and tuple(words[place : place + len(sequence)]) == sequence
    ]


def _sentence_starts(text: str, tokens: list[tuple[str, int, int]]) -> list[int]:
    """The first token of each sentence."""
    starts = [token[1] for token in tokens]
    return [0, *(bisect_left(starts, match.end()) for match in _SENTENCE_END.finditer(text))]


@cache
def _terms() -> _Terms:
    given = yaml.safe_load(_TERMS.read_text(encoding="utf-8"))

    def sequences(kind: str) -> tuple[tuple[str, ...], ...]:
        return tuple(tuple(_TOKEN.findall(phrase)) for phrase in given[kind])

    single = {phrase for kind in ("preceding", "following", "ending") for phrase in given[kind] if " " not in phrase}
    kinds = {kind: sequences(kind) for kind in ("pseudo", "preceding", "following", "ending")}
    return _Terms(**kinds, words=frozenset(single))
