"""Values of a scale in a judge's words: numbers in digits or words, with or without what they are out of."""

import math
import re
from dataclasses import dataclass

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER = r"[-+−]?\d+(?:[.,]\d+)?|\b(?:" + "|".join(WORDS) + r")\b"
_SAID = re.compile(
    rf"[\s(\[]*(?:(?:about|approximately|around|roughly)\s+|~\s*)?(?P<number>{_NUMBER})"
    rf"(?:\s*(?:/|\bout\s+of\b|\bof\b(?=\s*\d+\s*(?:points?\b|$)))\s*(?P<whole>{_NUMBER}))?"
    r"\s*(?P<rest>.*)",
    re.IGNORECASE | re.DOTALL,
)
_MORE = re.compile(rf"(?:%|(?:percent|to|or|and|,|;|-|–|—|/|&|~)\s*(?:{_NUMBER})|\d|[.,]\d|e[+-]?\d)", re.IGNORECASE)
"""What makes the number before it a range, a list or a share, and so no value."""
_ABSTAINING = re.compile(
    r"(?<!\w)(?:n/?a|not applicable|(?:not|un)\s*-?(?:assessable|gradable|gradeable|scorable|scoreable|rateable)|"
    r"(?:can\s?not|can'?t|could not|couldn'?t|(?:unable|not able) to|(?:not |im)possible to)\s+"
    r"(?:be\s+)?(?:\w+ly\s+)?(?:assess|grad|scor|rat|evaluat|judg|determin|assign|give|provide)(?:e|ed|ing)?"
    r"(?:\s+(?:a|an|any)\s+(?:score|grade|rating|value))?)(?!\w)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Said:
    """What a text says at its beginning: a number, and what it is out of."""

    number: float
    whole: float | None
    rest: str  # after it


class NoValue(ValueError):
    """A text begins with numbers that are no one value: a range, a list, a percentage."""


def said_at(text: str) -> Said | None:
    """The number that a text begins with, or None.

    Raises:
        NoValue: it is part of a range, a list or a percentage.
    """
    match = _SAID.match(text)
    if match is None:
        return None
    rest = match["rest"]
    if _MORE.match(rest):
        raise NoValue(f"{text[:40].strip()!r} is not one value")
    whole = match["whole"]
    return Said(_number(match["number"]), None if whole is None else _number(whole), rest)


def _number(text: str) -> float:
    lower = text.lower()
    value = float(WORDS.index(lower)) if lower in WORDS else float(lower.replace("−", "-").replace(",", "."))
    if not math.isfinite(value):
        raise NoValue(f"{text[:40]!r} is not finite")
    return value


def abstains(text: str) -> bool:
    """Whether a text says that no grade can be given; "if it cannot be graded" does not."""
    sentences = re.split(r"[.\n;!?]", text)
    return any(
        _ABSTAINING.search(sentence) and not re.match(r"\W*(?:if|when|where|unless)\b", sentence, re.IGNORECASE)
        for sentence in sentences
    )
