"""The JSON values in a judge's reply, repaired in form, and what their keys mean."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import json_repair

from workflow_scripts.judges.replies import InvalidJudgement

MOST_STARTS, MOST_BRACKETS = 40, 400
"""Places where JSON is tried, and brackets of a text that is repaired: more are no grade."""


class Contradiction(InvalidJudgement):
    """A key stands twice with two values."""


def objects_in(text: str) -> tuple[list[Any], str]:
    """The JSON objects and lists of a text in their order, and the text around them.

    Raises:
        Contradiction: a key of an object stands twice with two values.
    """
    values, around, place = [], [], 0
    decoder = json.JSONDecoder(strict=False, object_pairs_hook=_object)
    for _ in range(MOST_STARTS):
        start = min((at for at in (text.find("{", place), text.find("[", place)) if at >= 0), default=-1)
        if start < 0:
            break
        try:
            value, end = decoder.raw_decode(text, start)
        except RecursionError:
            break
        except Contradiction:
            raise
        except ValueError:
            if text[start] == "[":  # a footnote, a link, a list of another kind
                around.append(text[place : start + 1])
                place = start + 1
                continue
            value, end = _repaired(text, start)
            if value is None:
                break
        values.append(value)
        around.append(text[place:start])
        place = end
    return values, " ".join([*around, text[place:]])


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for key, value in pairs:
        if entries.setdefault(key, value) != value:
            raise Contradiction(f"{key[:40]!r} stands twice with two values")
    return entries


def _repaired(text: str, start: int) -> tuple[Any, int]:
    """An object with slips of form, and where it ends; one that was cut ends with the text."""
    depth, end = 0, len(text)
    for place in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            end = place + 1
            break
    part = text[start:end]
    if part.count("{") + part.count("[") > MOST_BRACKETS:
        return None, start
    _check_keys(part)
    try:
        value = json_repair.loads(part)
    except (ValueError, RecursionError):
        return None, start
    return (value, end) if isinstance(value, dict | list) and value else (None, start)


_TOKEN = re.compile(r"[{}]|(?<!\w)(\w{1,60})[\"']?\s{0,9}:\s{0,9}(\"[^\"]*\"|'[^']*'|[-\w.]+)")


def _check_keys(part: str) -> None:
    """Raises Contradiction where a key of a grade stands twice in one object: repair would choose one of the two."""
    objects: list[dict[str, str]] = [{}]
    for token in _TOKEN.finditer(part):
        if token[0] == "{":
            objects.append({})
        elif token[0] == "}":
            objects = objects[:-1] or [{}]
        elif GRADE.fullmatch(plain_key(token[1])) and objects[-1].setdefault(token[1], token[2]) != token[2]:
            raise Contradiction(f"{token[1][:40]!r} stands twice with two values")


def plain_key(key: object) -> str:
    """A key in lower case, words joined by `_`."""
    return re.sub(r"\W+", "_", str(key).strip().lower()).strip("_")


GRADE = re.compile(r"(?:(?P<final>final|overall|total)_)?(?:\w+_)?(?:score|grade|rating)|value|points|total|awarded")
"""Keys that hold a grade."""


def grades_in(value: Any, depth: int = 0) -> Iterator[tuple[Any, bool]]:
    """What keys of a grade hold in a JSON value, and whether the key says that it is the final one.

    An object with such a key is not searched further: what lies deeper is of something else.
    """
    if depth > 4:
        return
    if isinstance(value, list):
        for entry in value:
            yield from grades_in(entry, depth + 1)
    elif isinstance(value, Mapping):
        named = [(held, name) for key, held in value.items() if (name := GRADE.fullmatch(plain_key(key)))]
        for held, name in named:
            inner = list(grades_in(held, depth + 1)) if isinstance(held, list | Mapping) else []
            yield from inner or [(held, bool(name["final"]))]
        if not named:
            for held in value.values():
                yield from grades_in(held, depth + 1)
