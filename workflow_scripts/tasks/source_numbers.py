"""Numbers as sources write them."""

import math
import re

from workflow_scripts.core.answers import BadAnswer

_SOURCE = re.compile(r"^[+-]?(?:\d{1,15}(?:\.\d{0,20})?|\.\d{1,20})(?:[eE][+-]?\d{1,3})?(\s*%)?$", re.ASCII)
SOURCE_LIMIT = 10**15
"""An integer of a source with more digits is no number of these data."""


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
