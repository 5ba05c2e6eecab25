"""The number that a text states, or nothing: a range, a refusal, a tooth or a magnification is no answer."""

import re
from itertools import islice
from typing import NamedTuple

from workflow_scripts.tasks.language.refusals import declined_spans, lies_in
from workflow_scripts.tasks.language.text import LARGEST

_MINUS = str.maketrans({"−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "＝": "="})
_GROUP_SPACE = re.compile(r"(?<=[0-9])[ '’\u00a0\u2009\u202f](?=[0-9]{3}(?![0-9]))")
_THOUSANDS = re.compile(r"(?<![0-9.,])[1-9][0-9]{0,2}(?:\.[0-9]{3})+(?![0-9]|[.,][0-9])", re.ASCII)
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.,])(?<![A-Za-z]-)-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])(?:\.[0-9]+)?|[0-9]{1,3},[0-9]{1,2}|"
    r"[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,2})?(?:(?![0-9A-Za-z_]|[.,][0-9])|(?=(?:mm|cm|um|x|k|m)\b))",
    re.ASCII,
)
_DECIMAL_COMMA = re.compile(r"-?[0-9]{1,3},[0-9]{1,2}", re.ASCII)
_ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_IN_WORDS = {word: value for value, word in enumerate(_ONES)} | {word: 10 * n for n, word in enumerate(_TENS, 2)}
_IN_WORDS |= {f"{ten} {_ONES[one]}": 10 * n + one for n, ten in enumerate(_TENS, 2) for one in range(1, 10)}
_COUNTED = r"(?:(?!of\b)[a-z-]+\s+){0,2}(?:cells?|nuclei|nucleus)\b"
_WORDED = re.compile(
    rf"\b(?:(?:{'|'.join(_TENS)})(?:[\s-](?:{'|'.join(_ONES[1:10])}))?|{'|'.join(_ONES)})(?=\s+(?:{_COUNTED}"
    rf"|per ?cent\b))",
    re.IGNORECASE,
)

_ADVERBS = r"(?:\s*\b(?:about|around|approximately|roughly|maybe|perhaps|possibly|probably|even|up)\b)*\s*[~≈]?\s*$"
_JOINED = re.compile(
    rf"^\s*(?:%|percent)?\s*(?:(?:-|~|,|;|&|(?:(?!cells|nuclei)[a-z]+\s+){{0,2}},?\s*\b(?:and|or|to|through|up to"
    rf"|until|versus|vs)\b)"
    rf"{_ADVERBS}|[ \t]+$)",
    re.IGNORECASE,
)
_NAMES = (
    r"tooth|teeth|image|figure|fig|field|slide|step|case|panel|row|column|region|quadrant|grade|stage|class|"
    r"option|slice|view|frame|page|table|question|patient|part|pass|passe|cluster|magnification|version|zone"
    r"|section|level"
)
_NAMED = re.compile(
    rf"(?:\b(?:(?:{_NAMES})s?|number|no\.)|#)\s*(?:(?:no\.|number|nr\.?)\s*)?[:#.]?\s*$"
    rf"|\b(?:teeth|(?:{_NAMES})s)\s*[:#.]?\s*(?:[0-9]+\s*(?:,|and|&|or|to|-)\s*){{1,9}}$",
    re.IGNORECASE,
)
_MARKER = re.compile(r"(?:^|\n|[.:;!?]\s)\s*(?:[*-]\s*)?$")
_NEVER = re.compile(
    rf"^\s*(?:(?:x\b|×|°|dpi\b|px\b|pixels?\b|kv\b|(?:out )?of\b)|-?\s*(?:{_NAMES})s?\b)|^[.)][ \t]+[A-Za-z*]",
    re.IGNORECASE,
)
_SURE = re.compile(r"^ ?%? ?(?:sure|certain|confiden\w+|accura\w+|probab\w+)\b", re.IGNORECASE)
_SURE_BEFORE = re.compile(
    r"\b(?:confidence|certainty|accuracy|probability)\b\W{0,4}(?:(?:of|is|level)\W{1,3}){0,2}$", re.IGNORECASE
)
_AGE = re.compile(r"\baged?\W{0,3}$", re.IGNORECASE)
_UNITS = re.compile(r"^\s*(?:mm|cm|µm|um|μm|years?\b|months?\b|days?\b|ml\b|mg\b)", re.IGNORECASE)
_PART_OF = re.compile(
    r"[0-9]\s*(?:mm|cm|%)?\s*(?:out )?of\s*(?:the\s+)?$|(?:±|\+/-|\+-|plus or minus)\s*$", re.IGNORECASE
)
_PERCENT = re.compile(r"^\s*(?:\\?%|percent\b|per cent\b)", re.IGNORECASE)
_SCALE = re.compile(r"^\s*(hundred|thousand|k|million|m|billion)\b", re.IGNORECASE)
_SCALES = {"hundred": 1e2, "thousand": 1e3, "k": 1e3, "million": 1e6, "m": 1e6, "billion": 1e9}
_OPERATOR = r"(?:[+*/×÷^]|\*\*|\b(?:plus|minus|times|divided by)\b)"
_ARITHMETIC = re.compile(rf"^\s*%?\s*{_OPERATOR}\s*[-(0-9]|^[⁰¹²³⁴-⁹]")
_ARITHMETIC_BEFORE = re.compile(rf"(?:[0-9)%]\s*{_OPERATOR}\s*|\^\s*|[0-9)]\s*x\s*)$")
_DENIED = re.compile(
    r"(?:\b(?:not|never|n't|rather than|instead of|(?:less|more|fewer|greater|lower|higher) than|below|above|under"
    r"|over|"
    r"at least|at most|up to)\s+(?:about\s+|exactly\s+)?|[<>≤≥]\s*)$",
    re.IGNORECASE,
)

_LINK = r"\b[^0-9.\n]{0,60}$"
_FINAL = re.compile(r"(?:answer(?!\s+(?:the|this|how|your|that)\b)|boxed)\b[^0-9.\n]{0,40}$", re.IGNORECASE)
_RESULT = re.compile(r"[0-9)%\]]\s*(?:=|(?:equals|is|makes|gives)\b)\s*(?:about|approximately|~|≈)?\s*$", re.IGNORECASE)
_LINE_START, _LINE_END = re.compile(r"(?:^|\n)[^\w\n]*$"), re.compile(r"^\s*(?:cells|nuclei)?[^\w\n]*(?:\n|$)")
_EQUAL = re.compile(r"=\s*(?:about|approximately|~|≈)?\s*$", re.IGNORECASE)
_TOTAL = re.compile(rf"(?:total|totals|overall|altogether|sum|mean|average){_LINK}", re.IGNORECASE)
_TOTAL_AFTER = re.compile(r"^ ?%? ?(?:(?:cells|nuclei) )?(?:in total|total|altogether|overall)\b", re.IGNORECASE)
_STRONG = re.compile(
    rf"(?:counts?|estimate|estimated|number of|number is|percentage|abr|result|counted|i count){_LINK}|(?:cells"
    rf"|nuclei)[\"'*\s]*[:=][\"'*\s]*$",
    re.IGNORECASE,
)
_WEAK = re.compile(rf"(?:value|ratio|loss|approximately|about|around|roughly|there are|i see){_LINK}", re.IGNORECASE)

MOST = 200
"""Numbers that are looked at: a text with more is a loop, and says its number at the start."""


class _Candidate(NamedTuple):
    value: float
    start: int
    percent: bool
    before: str
    after: str


def stated_number(text: str, *, percent: bool = False, whole: bool = False) -> float | None:
    """The number that `text` gives as its answer, or None.

    Args:
        text: the answer, without thoughts.
        percent: a percentage is expected: numbers with a percent sign go before others.
        whole: a count of cells is expected: a comma is no decimal point, and numbers of cells go before others.
    """
    text = _GROUP_SPACE.sub("", text.translate(_MINUS))
    text = _THOUSANDS.sub(lambda match: match.group().replace(".", ""), text) if whole else text
    if (value := _IN_WORDS.get(_spaced(text.strip("*.\"' ")))) is not None:
        return float(value)
    text = _WORDED.sub(lambda match: str(_IN_WORDS[_spaced(match.group())]), text)
    opening = text.split("```")[0]  # a model that goes on after its number opens a fence
    text = opening if _NUMBER.search(opening) else text
    candidates, ranges = _candidates(text, measured=percent or whole, whole=whole)
    if percent and any(candidate.percent for candidate in candidates):
        candidates = [candidate for candidate in candidates if candidate.percent]
    if final := [c for c in candidates if _FINAL.search(c.before)]:
        return final[-1].value
    declined = declined_spans(text)
    candidates = [c for c in candidates if not lies_in(declined, c.start)]
    lone = [c for c in candidates if _LINE_START.search(c.before) and _LINE_END.match(c.after)]
    if len({c.value for c in lone}) == 1:
        return lone[0].value
    if results := [c for c in candidates if _RESULT.search(c.before)]:
        return results[-1].value
    for pattern in (_TOTAL, _STRONG):
        if named := [
            c for c in candidates if pattern.search(c.before) or (pattern is _TOTAL and _TOTAL_AFTER.match(c.after))
        ]:
            return named[0].value
    if declined:
        candidates = [c for c in candidates if c.start > declined[0][0]]
    equal = [c for c in candidates if _EQUAL.search(c.before)]
    counted = [c for c in candidates if whole and re.match(rf"\s+{_COUNTED}", c.after, re.IGNORECASE)]
    announced = [c for c in candidates if _WEAK.search(c.before)]
    for stated in (equal, counted, announced, [] if ranges else candidates):
        if stated:
            return stated[0].value if len({c.value for c in stated}) == 1 else None
    return None


def _spaced(word: str) -> str:
    return re.sub(r"[\s-]+", " ", word[:20].lower())


def _candidates(text: str, *, measured: bool, whole: bool) -> tuple[list[_Candidate], bool]:
    """The numbers of a text that may be its answer, and whether ranges or alternatives were left out."""
    matches = [match for match in islice(_NUMBER.finditer(text), MOST) if len(match.group()) <= 40]
    every = [_candidate(text, match, measured, whole) for match in matches]
    joined: set[int] = set()
    for place in range(len(matches) - 1):
        first, second = every[place], every[place + 1]
        gap = text[matches[place].end() : matches[place + 1].start()] + (
            "-" if matches[place + 1].group()[0] == "-" else ""
        )
        if not first or not second or first.value == second.value or len(gap) > 40 or not _JOINED.match(gap):
            continue
        if not (gap.strip() == "," and _TOTAL_AFTER.match(second.after)):
            joined |= {place, place + 1}
    candidates_left = [
        candidate for place, candidate in enumerate(every) if candidate is not None and place not in joined
    ]
    outside = [c for c in candidates_left if not _in_parentheses(c)]
    ends = [every[place] for place in joined]
    ranges = any(end is not None and not _in_parentheses(end) for end in ends)
    return [c for c in outside or candidates_left if not _DENIED.search(c.before)], ranges


def _in_parentheses(candidate: _Candidate) -> bool:
    return candidate.before.rfind("(") > candidate.before.rfind(")")


def _candidate(text: str, match: re.Match[str], measured: bool, whole: bool) -> _Candidate | None:
    """The number as a possible answer; None for names, list markers, other units and parts of a calculation."""
    before, after = text[max(0, match.start() - 80) : match.start()], text[match.end() : match.end() + 40]
    if (
        _ARITHMETIC.match(after)
        or _ARITHMETIC_BEFORE.search(before)
        or _NAMED.search(before)
        or _PART_OF.search(before)
    ):
        return None
    if (_NEVER.match(after) and (after[0] not in ".)" or _MARKER.search(before))) or (measured and _UNITS.match(after)):
        return None
    if _SURE.match(after) or _SURE_BEFORE.search(before) or (measured and _AGE.search(before)):
        return None
    digits = match.group()
    if _DECIMAL_COMMA.fullmatch(digits):
        if whole:
            return None
        digits = digits.replace(",", ".")
    value = float(digits.replace(",", ""))
    if scale := _SCALE.match(after):
        value *= _SCALES[scale.group(1).lower()]
    if not abs(value) < LARGEST:
        return None
    return _Candidate(value, match.start(), bool(_PERCENT.match(after)), before, after)
