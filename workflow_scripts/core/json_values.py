"""JSON of others, read so that no value costs a file: integers that Python refuses, text that is not Unicode."""

import json
from collections.abc import Callable
from typing import Any

LONGEST_INTEGER = 300
"""Digits up to which an integer is read as a number; a longer one stays text (Python refuses 4,301)."""


def loads(text: str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text; an integer of more than 300 digits is read as its text.

    Args:
        text: the JSON.
        pairs: what makes an object of its keys and values, in their order; None: a dictionary, a key's last value.

    Raises:
        ValueError: it is not valid JSON.
        RecursionError: it is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=pairs, parse_int=_integer)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= LONGEST_INTEGER else digits


def is_unicode(text: str) -> bool:
    """Whether `text` can be written as UTF-8: it holds no half of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
