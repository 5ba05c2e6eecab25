"""Numbers, as sources write them and as answers say them. One place says how long and how large a number may be."""

import math
import re

from workflow_scripts.core.answers import BadAnswer
from workflow_scripts.tasks.text import LARGEST

_SOURCE = re.compile(r"^[+-]?(?:\d{1,15}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?(\s*%)?$", re.ASCII)
SOURCE_LIMIT = 10**15
"""An integer of a source with more digits is no number of these data."""

_DIGITS = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+"
_SAID = re.compile(rf"(?<![A-Za-z0-9_.,-])(-?(?:{_DIGITS})(?:\.[0-9]+)?)(?![0-9A-Za-z_]|[.,][0-9])", re.ASCII)
_ANNOUNCED = re.compile(
    r"(?:answer|count|total|estimate|estimated|number|value|boxed|percentage|approximately|about|around|roughly)\b"
    r"[^0-9.\n]{0,60}$",
    re.IGNORECASE,
)
_FINAL = re.compile(r"(?:answer|boxed)\b[^0-9.\n]{0,40}$", re.IGNORECASE)


def source_number(raw: object) -> tuple[float, bool]:
    """The value of a source's number, and whether it is written with a percent sign.

    Raises:
        BadAnswer: it is no finite number.
    """
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise BadAnswer("wrong_answer_type", f"expected a number, found {type(raw).__name__}")
    percent = False
    if isinstance(raw, str):
        # float() would read "1_000", full-width digits and "nan"
        match = _SOURCE.match(raw.strip())
        if match is None:
            raise BadAnswer("invalid_number", f"{raw.strip()[:60]!r} is not a number")
        percent = match.group(1) is not None
        value = float(raw.strip().removesuffix("%").strip())
    else:
        if isinstance(raw, int) and abs(raw) >= SOURCE_LIMIT:
            raise BadAnswer("invalid_number", "the number has more than 15 digits")
        value = float(raw)
    if not math.isfinite(value):
        raise BadAnswer("invalid_number", f"{value} is not finite")
    return value, percent


def stated_number(text: str) -> float | None:
    """The number after the last "answer", else after the first "count", "about", …, else the first one."""
    matches = [match for match in _SAID.finditer(text) if len(match.group(1)) <= 30]
    readable = [(match, float(match.group(1).replace(",", ""))) for match in matches]
    readable = [(match, value) for match, value in readable if abs(value) < LARGEST]
    if not readable:
        return None
    final = [value for m, value in readable if _FINAL.search(text[max(0, m.start() - 60) : m.start()])]
    announced = [value for m, value in readable if _ANNOUNCED.search(text[max(0, m.start() - 80) : m.start()])]
    return final[-1] if final else announced[0] if announced else readable[0][1]
