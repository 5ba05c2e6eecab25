"""Classes as models write them: a letter or words, alone or in prose."""

import re
from functools import lru_cache
from itertools import islice

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.language.mentions import Mention, Place, mentions_at, places_of
from workflow_scripts.tasks.language.polarity import polarity, said_after
from workflow_scripts.tasks.language.refusals import declined_spans, lies_in
from workflow_scripts.tasks.language.text import LONGEST, lowered, squeezed
from workflow_scripts.tasks.options import is_letter

_SAYS = (
    r"(?:answers?|option|choice|diagnosis|classification|class|category|conclusion|stage|grade|boxed|assessment|label|"
    r"most likely|(?:best )?guess|choose|pick|select|go with)"
)
_LINK = r"(?:\s*(?:is|are|would be|be|should be|most likely|likely|the|=|:|\*|\(|\[|\{|\\text|\"|'|`|\$))*\s*"
_ALONE = r"(?<![A-Za-z0-9\\])(?<![A-Za-z0-9]['’-])({letters})(?![A-Za-z0-9]|['’-][A-Za-z0-9])"
_BETWEEN = (
    r"\s*(?:\)|\.|\*+)?[\s\0]*(?:,?\s*\(?(?:\bor\b|\band\b)|[,/&+])\s*(?:(?:option|maybe|perhaps"
    r"|possibly)\s+)*\(?\*{{0,2}}"
)
_OTHER = _BETWEEN + r"(?:{letters})(?![A-Za-z0-9'’-])"
_FITS = (
    r"\)?\s+(?:fits|applies|matches|(?:is|seems|looks|appears) (?:the )?"
    r"(?:correct|right|best|(?:most|more) (?:likely|probable|appropriate|consistent)|likelier))\b"
)
_ANY_LETTER = tuple("ABCDEFGHIJK")
"""Letters that are looked for where the question lists no options: FLARE's questions have at most eleven."""
MOST = 200
"""Letters of one kind that are looked at."""
_REJECTED = re.compile(
    r"\b(?:not|never|can ?not|can['’]t|unable to|neither|nor|n't|than|incorrect|wrong)\s+(?:\w+\s+)?$", re.IGNORECASE
)
_MASK = "\0"
"""Stands for each character of an option's words: no white space, so that nothing is linked across them."""
_LINKING = r"(?:is|it|because|as|since|due|with|based|for|and|or|but|given|fits|seems|not|rather|instead|over)\b"
_ARTICLE = re.compile(rf"\s+(?!{_LINKING})[a-z]")
_ARTICLE_AFTER = rf"(?![ \t]+(?!{_LINKING})[A-Za-z])"
_CLOSED = re.compile(r"\s*(?:[).:,;*\]}\"'`$]|$)")
_ANSWER = re.compile(r"\banswer\b(?=\W*[:=\n]|[^.:;\n]{0,80}\b(?:is|be)\b)")
_ITEM_END = re.compile(r"\s*(?:[.,;:)\n]|$|(?:or|and)\b)")
_JOIN = re.compile(
    r"[\s*()\"']*(?:\b(?:or|and|and/or|to|versus|vs)\b|/|,)[\s*()\"'-]*(?:an?\s+|the\s+|option\s+)?(?:\(?[A-K]\W{1,3})?"
    r"|\s*-\s*to\s*-\s*",
    re.IGNORECASE,
)


def read_strict(expected: ExpectedFormat, text: str) -> Value | None:
    """A letter, or words, as the format asks; case and white space at the ends are free."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    if expected.answer_by == "letter":
        letter = text.upper()
        letters = _letters(expected)
        known = letter in letters if letters else len(letter) == 1 and letter.isascii() and letter.isalpha()
        return letter if known else None
    wanted = squeezed(text)
    return next((word for word in _words(expected) if squeezed(word) == wanted), None)


def read_lenient(expected: ExpectedFormat, text: str) -> Value | None:
    """The option that a text chooses, by letter or words; None where it chooses none or more than one.

    Words of options are masked where letters are looked for: the A of "Luminal A" is no letter, and the "no" of
    "No lesion" denies nothing.
    """
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    letters, words = _letters(expected), _words(expected)
    text = _without_list(letters, words, text[:LONGEST].strip())
    places = places_of(words, text)
    if expected.answer_by != "letter":
        if places or not letters:
            return _chosen_word(words, places, text)
        letter = _chosen_letter(letters, text)
        return dict(zip(letters, words, strict=True))[letter] if letter else None
    letter = _chosen_letter(letters or _ANY_LETTER, _masked(text, places))
    if letter is not None:
        return letter
    if not places:
        return _lone_letter(letters or _ANY_LETTER, text)
    word = _chosen_word(words, places, text)
    return dict(zip(words, letters, strict=False)).get(word) if word is not None else None


def reference(row: Row) -> Value:
    """The letter in upper case, or the words."""
    answer = row.answer.strip()
    return answer.upper() if is_letter(answer) else answer


def _letters(expected: ExpectedFormat) -> tuple[str, ...]:
    return tuple(option.letter.upper() for option in expected.options)


def _words(expected: ExpectedFormat) -> tuple[str, ...]:
    return tuple(option.text for option in expected.options) or expected.labels


class _Patterns:
    """What is looked for, for one set of letters."""

    def __init__(self, letters: tuple[str, ...]) -> None:
        one = "|".join(letters)
        alone = _ALONE.format(letters=one)
        self.whole = re.compile(rf"\W*(?:{one})\W*", re.IGNORECASE)
        small = _ALONE.format(letters=one.lower())  # in lower case, which is faster than to ignore case
        self.said = re.compile(rf"\b{_SAYS}(?:\b[^.:;\n\0]{{0,80}}?\b(?:is|be)\b)?{_LINK}{small}")
        self.fits = re.compile(rf"{alone}{_FITS}")
        self.listed = re.compile(rf"(?:^|[\s*(\[\"'`]){alone}\s*(?:[):.](?!\s*[0-9.]+\s*%)|\*\*|\])")
        self.own_line = re.compile(rf"^[^\w\n]*({one})[^\w\n]*$", re.MULTILINE)
        self.lone = re.compile(alone + _ARTICLE_AFTER)
        self.other_after = re.compile(_OTHER.format(letters=one))
        self.other_before = re.compile(rf"(?:{one})" + _BETWEEN.format() + "$")


@lru_cache(maxsize=256)
def _patterns(letters: tuple[str, ...]) -> _Patterns:
    return _Patterns(letters)


@lru_cache(maxsize=256)
def _list_pattern(letters: tuple[str, ...], words: tuple[str, ...]) -> re.Pattern[str] | None:
    """All options in their order, with letters or, if they are three or more, without: a repeated question."""
    if len(words) < 2 or (letters and len(letters) != len(words)):
        return None
    optional = "?" if len(words) > 2 else ""
    heads = [rf"(?:\(?\b{letter}\b\W{{1,4}}){optional}" for letter in letters] or [""] * len(words)
    if not letters and len(words) == 2:
        return None
    items = [head + re.escape(word) for head, word in zip(heads, words, strict=True)]
    return re.compile(r"\W{1,12}(?:(?:and|or)\W{1,4})?".join(items), re.IGNORECASE)


def _without_list(letters: tuple[str, ...], words: tuple[str, ...], text: str) -> str:
    pattern = _list_pattern(letters, words)
    plain = lowered(text)
    if pattern is None or not all(lowered(word) in plain for word in words):
        return text
    return pattern.sub(lambda match: " " * len(match.group()), text)


def _masked(text: str, places: list[Place]) -> str:
    parts, position = [], 0
    for place in places:
        parts += [text[position : place.start], _MASK * (place.end - place.start)]
        position = place.end
    return "".join([*parts, text[position:]])


def _chosen_letter(letters: tuple[str, ...], text: str) -> str | None:
    """The letter after "answer", "option", …: after the last one, for models that think aloud; else `B)`, `**B**`."""
    patterns = _patterns(letters)
    if patterns.whole.fullmatch(text):
        return re.sub(r"\W", "", text).upper()
    for match in list(patterns.said.finditer(lowered(text)))[: -MOST - 1 : -1]:
        if _says(text, match) and not _shares(patterns, text, match):
            return match.group(1).upper()
    declined = declined_spans(text)
    for pattern in (patterns.fits, patterns.listed):
        for match in islice(pattern.finditer(text), MOST):
            if _affirmed(text, match, declined) and not _shares(patterns, text, match):
                return match.group(1)
    lines = {
        match.group(1) for match in islice(patterns.own_line.finditer(text), MOST) if _affirmed(text, match, declined)
    }
    return lines.pop() if len(lines) == 1 else None


def _says(text: str, match: re.Match[str]) -> bool:
    """Whether the letter after "answer" is one, is not an article, and is not rejected."""
    end = match.end(1)
    letter = text[match.start(1) : end]
    if letter.islower() and not _CLOSED.match(text, end):
        return False
    if letter in "AI" and _ARTICLE.match(text, end):
        return False
    after = said_after(text, end)
    return (after is None or after[0] == "affirmed") and not _REJECTED.search(
        text[max(0, match.start() - 40) : match.start()]
    )


def _shares(patterns: _Patterns, text: str, match: re.Match[str]) -> bool:
    """Whether a letter is one of several that are named as alternatives."""
    start, end = match.span(1)
    return bool(patterns.other_after.match(text, end) or patterns.other_before.search(text[max(0, start - 60) : start]))


def _affirmed(text: str, match: re.Match[str], declined: list[tuple[int, int]]) -> bool:
    return not lies_in(declined, match.start(1)) and polarity(text, *match.span(1)) == "affirmed"


def _lone_letter(letters: tuple[str, ...], text: str) -> str | None:
    """A capital letter that is a word of its own; not the article "A" and not "I"."""
    patterns = _patterns(letters)
    declined = declined_spans(text)
    matches = (match for match in islice(patterns.lone.finditer(text), MOST) if _affirmed(text, match, declined))
    lone = {match.group(1) for match in matches if not _shares(patterns, text, match)}
    return lone.pop() if len(lone) == 1 else None


def _chosen_word(words: tuple[str, ...], places: list[Place], text: str) -> str | None:
    """The option whose words the text affirms: the first after the last "answer", else the first one.

    Options that are listed after a refusal, or as alternatives of one another, are no answer.
    """
    declined = declined_spans(text)
    open_mentions = [mention for mention in mentions_at(places, text) if mention.polarity != "denied"]
    affirmed = [mention for mention in open_mentions if mention.polarity == "affirmed"]
    marker = max((match.end() for match in _ANSWER.finditer(lowered(text))), default=None)
    after = [mention for mention in affirmed if marker is not None and mention.start >= marker]
    lone = [mention for mention in affirmed if _on_own_line(mention, text)]
    if not after and len({mention.name for mention in lone}) == 1:
        return lone[0].name
    chosen = after or [mention for mention in affirmed if not lies_in(declined, mention.start)]
    if not chosen or _alternatives(chosen[0], words, open_mentions, text):
        return None
    return chosen[0].name


def _on_own_line(mention: Mention, text: str) -> bool:
    before, after = text[max(0, mention.start - 8) : mention.start], text[mention.end : mention.end + 8]
    return bool(re.search(r"(?:\A|\n)[^\w\n]*$", before) and re.match(r"[^\w\n:]*(?:\n|$)", after))


def _alternatives(mention: Mention, words: tuple[str, ...], mentions: list[Mention], text: str) -> bool:
    """Whether the mention is joined to another option, or to a part of one: "mild or moderate NPDR", "Luminal A/B"."""
    for other in mentions:
        if other.name != mention.name:
            first, second = sorted((mention, other), key=lambda each: each.start)
            gap = text[first.end : second.start]
            if (
                len(gap) < 40
                and _JOIN.fullmatch(gap)
                and ("," not in gap or gap.strip() != "," or _ITEM_END.match(text, second.end))
            ):
                return True
    others = [word.split() for word in words if word != mention.name and " " in word.strip()]
    following = _JOIN.match(text, mention.end)
    rest = text[following.end() :].split(maxsplit=1)[:1] if following else []
    before = text[max(0, mention.start - 60) : mention.start]
    leading = next((word for word in others if _leads(word[0], before)), None)
    return leading is not None or any(
        rest and squeezed(rest[0].strip(".,;*)")) == squeezed(other[-1]) for other in others
    )


def _leads(word: str, before: str) -> bool:
    """Whether the text before a mention ends in another option's first word and a join."""
    place = before.casefold().rfind(word.casefold())
    return (
        place >= 0
        and not before[place - 1 : place].isalnum()
        and _JOIN.fullmatch(before, place + len(word)) is not None
    )
