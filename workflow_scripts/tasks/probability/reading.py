"""Probabilities as models write them: per cent, fractions, ranges, bounds, odds and parts of a number of patients.

What is read is in per cent. A range, and what is said to lie under or over a limit, is read as its midpoint; odds of
1:3 are 25 %; a number without a sign is a fraction of 1 where it has a decimal point and is at most 1, else per cent.
Of several probabilities the one that the text calls its answer is read, else the last result of a calculation, else
the last that the text states of the disease. What it states of a test or of a population is none of these.
"""

import json
import re
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from workflow_scripts.core.rows import ExpectedFormat, Row
from workflow_scripts.tasks.language.refusals import declined_spans, lies_in
from workflow_scripts.tasks.language.text import LONGEST
from workflow_scripts.tasks.probability.intervals import DASHES, interval_of

MOST = 200
"""Numbers of a text that are looked at."""

_NUMBER = r"(?:[0-9]{1,9}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})(?:e-[0-9]{1,2})?"
_STRICT_PERCENT = re.compile(rf"({_NUMBER})\s?(?:%|percent|per cent)\.?", re.ASCII | re.IGNORECASE)
_STRICT_FRACTION = re.compile(rf"({_NUMBER})", re.ASCII | re.IGNORECASE)

_ONES = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_VALUES = {word: value for value, word in enumerate(_ONES, 1)} | {ten: 10 * n for n, ten in enumerate(_TENS, 2)}
_VALUES |= {f"{ten}-{one}": 10 * n + m for n, ten in enumerate(_TENS, 2) for m, one in enumerate(_ONES[:9], 1)}
_VALUES |= {"zero": 0, "fifteen": 15, "ten thousand": 10_000}
_VALUES |= {f"{one} {word}": value for one in ("a", "one") for word, value in (("hundred", 100), ("thousand", 1000))}
_WORDS = "|".join(sorted(_VALUES, key=len, reverse=True))
_WORDED = re.compile(rf"\b(?:{_WORDS})(?=\s*(?:%|(?:chances? )?(?:in|out of)\b))|(?<=\bin )(?:{_WORDS})\b")

_EDGE = r"(?![0-9a-z_]|[.,][0-9]|-(?:year|day|week|month))"
_NEAR = r"(?:(?:about|around|approximately|roughly|~|≈)\s*)?"
_STATED = re.compile(
    r"(?<![a-z0-9_.,/:+])(?<![a-z0-9]-)"
    r"(?:(?P<under><|≤|\b(?:less than|lower than|under|below|up to|at most|no more than)\b)"
    r"|(?P<over>>|≥|\b(?:more than|greater than|higher than|over|above|at least)\b))?\s*"
    rf"{_NEAR}(?P<minus>-)?(?P<first>{_NUMBER})\s*(?P<first_sign>%)?"
    rf"(?:\s*(?:chances? )?(?:in|out of|per)(?: every)? (?P<whole>[0-9]{{1,9}}){_EDGE}"
    rf"|\s?(?P<joint>[:/-]|\b(?:to|and)\b)\s?{_NEAR}(?P<second>{_NUMBER})\s*(?P<sign>%)?{_EDGE}"
    rf"|{_EDGE})",
)

_OF_A_TEST = re.compile(
    r"\b(?:sensitivit\w+|specificit\w+|(?:true|false)[ -](?:positive|negative)s?|likelihood ratios?|lr|accuracy"
    r"|prevalence|incidence|base rate|confidence|certainty|ci|aged?|in the year|in)\b[^0-9;\n]{0,24}$"
)
_OF_A_TEST_AFTER = re.compile(
    r"^\s*-?(?:sensitiv|specific|(?:true|false)[ -](?:positive|negative)|prevalen|ci\b|confiden|sure\b|certain|accura"
    r"|years?\b|days?\b|weeks?\b|months?\b|hours?\b|m[gml]\b|cm\b|°|degrees|likelihood ratio"
    r"|of (?:the )?(?:healthy|(?:patients|people|those|women|men) without))"
)
_MARKER = re.compile(r"(?:^|\n)\s*(?:step\s*)?\(?$")
_MARKER_AFTER = re.compile(r"^[.):]\s")
_FINAL = re.compile(r"\b(?:answer|final estimate|best estimate|boxed)\b[^0-9.\n]{0,40}$")
_RESULT = re.compile(r"[=≈]\s*$")
_NAMED = re.compile(
    r"\b(?:probabilit(?:y|ies)|chances?|likelihood|risk|odds|ppv|predictive value|estimate[ds]?|p\("
    r"|(?:i|i'd) (?:would )?(?:say|put|guess))(?! ratio)[^0-9.\n]{0,60}$"
)
_NAMED_AFTER = re.compile(r"^\s*(?:probability|chance|likelihood|risk)\b")
_LINE_START, _LINE_END = re.compile(r"(?:^|\n)[^\w\n]*$"), re.compile(r"^[^\w\n]*(?:\n|$)")
_ODDS, _ODDS_AFTER = re.compile(r"\bodds\b[^0-9.\n]{0,40}$"), re.compile(r"^\s*(?:odds|on|against|in favou?r)\b")
_AGAINST = re.compile(r"^\s*(?:odds )?against\b")


class _Candidate(NamedTuple):
    value: float  # per cent
    start: int
    certain: bool  # with a percent sign, as odds or as a part of a whole: nothing but a probability is meant
    before: str
    after: str


def read_strict(expected: ExpectedFormat, text: str) -> float | None:
    """A number with a percent sign, or a fraction of 1 where that is asked for, and nothing else."""
    match = (_STRICT_PERCENT if expected.percent else _STRICT_FRACTION).fullmatch(text[:80].strip())
    if match is None:
        return None
    value = float(match[1]) * (1.0 if expected.percent else 100.0)
    return value if value <= 100 else None


def read_lenient(expected: ExpectedFormat, text: str) -> float | None:
    """The probability that a text gives as its answer, in per cent."""
    exact = read_strict(expected, text)
    if exact is not None:
        return exact
    text = _plain(text[:LONGEST])
    candidates = list(islice(_candidates(text), MOST))
    if final := [c for c in candidates if _FINAL.search(c.before)]:
        return final[-1].value
    declined = declined_spans(text)
    candidates = [c for c in candidates if not lies_in(declined, c.start)]
    lone = [c for c in candidates if _LINE_START.search(c.before) and _LINE_END.match(c.after)]
    if len({c.value for c in lone}) == 1:
        return lone[0].value
    results = [c for c in candidates if _RESULT.search(c.before)]
    of_disease = [c for c in candidates if _NAMED.search(c.before) or _NAMED_AFTER.match(c.after)]
    for stated in (results, of_disease):
        if stated:
            return stated[-1].value
    outside = [c for c in candidates if c.certain and c.before.rfind("(") <= c.before.rfind(")")]
    certain = outside or [c for c in candidates if c.certain]
    return certain[0].value if len({c.value for c in certain}) == 1 else None


def reference(row: Row) -> dict[str, float]:
    """The two ends of the reference interval, in per cent: `low` and `high`.

    Raises:
        BadAnswer: the row has none.
    """
    return interval_of(json.loads(row.answer_raw), percent=row.expected.percent)._asdict()


def _plain(text: str) -> str:
    """The text in lower case, with one kind of dash, of percent sign and of spelling a number."""
    text = text.translate(DASHES).replace("\\%", "%").replace("’", "'").lower()
    text = "\n".join(squeezed for line in text.split("\n") if (squeezed := " ".join(line.split())))
    text = re.sub(r" ?\b(?:percent|per cent|pct)\b", "%", text)
    text = re.sub(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))", "", text)
    text = re.sub(r"[*_`$]", "", text)
    return _WORDED.sub(lambda match: str(_VALUES[match[0]]), text)


def _candidates(text: str) -> Iterator[_Candidate]:
    """The probabilities of a text, in its order."""
    for match in _STATED.finditer(text):
        before, after = text[max(0, match.start() - 100) : match.start()], text[match.end() : match.end() + 40]
        if _OF_A_TEST.search(before) or _OF_A_TEST_AFTER.match(after) or match["minus"]:
            continue
        if _MARKER.search(before) and _MARKER_AFTER.match(after):
            continue
        value = _value(match, before, after)
        if value is not None and 0 <= value <= 100:
            certain = bool(match["first_sign"] or match["sign"] or match["whole"] or match["joint"])
            yield _Candidate(value, match.start(), certain, before, after)


def _value(match: re.Match[str], before: str, after: str) -> float | None:
    """What a stated number, part, ratio or range means in per cent; None where it is no probability."""
    first = float(match["first"])
    if match["whole"] is not None:
        return _part(first, float(match["whole"]))
    if match["second"] is None:
        value = first * _factor(match["first"], match["first_sign"])
        if match["under"]:
            return value / 2
        return (value + 100) / 2 if match["over"] else value
    second, joint = float(match["second"]), match["joint"]
    odds = _ODDS.search(before) or _ODDS_AFTER.match(after)
    if joint == ":" or (odds and joint in ("to", "-")):
        favourable = second if _AGAINST.match(after) else first
        return _part(favourable, first + second)
    if joint == "/":
        return _part(first, second)
    sign = match["first_sign"] or match["sign"]
    low, high = first * _factor(match["first"], sign), second * _factor(match["second"], sign)
    return (low + high) / 2 if low <= high <= 100 and (joint != "and" or "between" in before[-24:]) else None


def _part(part: float, whole: float) -> float | None:
    return 100 * part / whole if 0 <= part <= whole and whole > 0 else None


def _factor(digits: str, sign: str | None) -> float:
    """What carries a number to per cent: a fraction of 1 has a decimal point, or an exponent, and no sign."""
    return 100.0 if sign is None and float(digits) <= 1 and ("." in digits or "e" in digits) else 1.0
