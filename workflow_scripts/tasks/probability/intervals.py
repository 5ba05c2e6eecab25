"""Probabilities as sources write them: a number or an interval, in per cent or as a fraction, carried to per cent."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from workflow_scripts.core.answers import BadAnswer
from workflow_scripts.tasks.options import NOTHING

DASHES = str.maketrans({"−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-"})

_NUMBER = r"(?:[0-9]{1,6}(?:\.[0-9]{1,20})?|\.[0-9]{1,20})"
_TEXT = re.compile(
    rf"(?P<bound>[<≤])?\s*(?P<low>{_NUMBER})\s*(?P<low_sign>%)?"
    rf"(?:\s*(?:-|\bto\b)\s*(?P<high>{_NUMBER})\s*(?P<sign>%)?)?",
    re.ASCII,
)


class Interval(NamedTuple):
    """A reference: the least and the largest probability that evidence supports, in per cent."""

    low: float
    high: float

    @property
    def middle(self) -> float:
        """Its midpoint, in per cent."""
        return (self.low + self.high) / 2


def written(value: float, *, percent: bool) -> str:
    """A probability, given in per cent, as an answer: with a percent sign, or as a fraction of 1."""
    return f"{value:.6g}%" if percent else f"{value / 100:.8g}"


def interval_of(raw: object, *, percent: bool) -> Interval:
    """The interval that a source's value means: `"25-42%"`, `"<1%"`, `2`, `[25, 42]`, `{"low": 25, "high": 42}`.

    Args:
        percent: numbers without a percent sign are per cent; else fractions of 1.

    Raises:
        BadAnswer: it is none, or no part of 0 to 100 %.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in NOTHING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    low, high, signed = _ends(raw)
    factor = 1.0 if percent or signed else 100.0
    interval = Interval(low * factor, high * factor)
    if not 0 <= interval.low <= interval.high <= 100:
        raise BadAnswer(
            "invalid_number",
            f"{json.dumps(raw)[:60]} is {interval.low:g} to {interval.high:g} %; expected a part of 0 to 100 % that "
            "begins with its lower end",
        )
    return interval


def _ends(raw: object) -> tuple[float, float, bool]:
    """Both ends as they are written, and whether with a percent sign."""
    if isinstance(raw, str):
        match = _TEXT.fullmatch(raw.translate(DASHES).strip())
        if match is None or (match["bound"] and match["high"]):
            raise BadAnswer("invalid_number", f"{raw.strip()[:60]!r} is no probability; expected 25-42%, <1% or 2%")
        low = float(match["low"])
        high = low if match["high"] is None else float(match["high"])
        return 0.0 if match["bound"] else low, high, bool(match["sign"] or match["low_sign"])
    if isinstance(raw, Mapping) and set(raw) == {"low", "high"}:
        raw = [raw["low"], raw["high"]]
    ends = list(raw) if isinstance(raw, Sequence) else [raw, raw]
    numbers = [float(end) for end in ends if isinstance(end, int | float) and not isinstance(end, bool)]
    if len(ends) != 2 or len(numbers) != 2 or not all(map(math.isfinite, numbers)):
        raise BadAnswer(
            "wrong_answer_type", f"{json.dumps(raw)[:60]} is no probability; expected a number, a text or [low, high]"
        )
    return numbers[0], numbers[1], False
