"""Lenient readers: what an answer means to a person, found in prose, fences and truncated JSON.

They look at the first `LONGEST` characters, take time linear in them, and return None where nothing is found.
"""

import re

from workflow_scripts.tasks.expected import Asked, Box, Value, squeezed
from workflow_scripts.tasks.strict import LARGEST, LONGEST, as_corners, read_strict, split_labels

_ALONE = r"(?<![A-Za-z0-9'’\\-])({letters})(?![A-Za-z0-9'’-])"
_SAYS = r"(?:answers?|options?|choices?|diagnosis|classification|class|category|conclusion|stage|grade|boxed)"
_LINK = r"(?:\s*(?:is|are|would be|be|should be|most likely|likely|the|=|:|\*|\(|\[|\{|\\text|\"|'|`|\$))*\s*"
_DIGITS = r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+"
_NUMBER = re.compile(rf"(?<![A-Za-z0-9_.,-])(-?(?:{_DIGITS})(?:\.[0-9]+)?)(?![0-9A-Za-z_]|[.,][0-9])", re.ASCII)
_TOLD = re.compile(
    r"(?:answer|count|total|estimate|estimated|number|value|boxed|percentage|approximately|about|around|roughly)\b"
    r"[^0-9.\n]{0,60}$",
    re.IGNORECASE,
)
_FINAL = re.compile(r"(?:answer|boxed)\b[^0-9.\n]{0,40}$", re.IGNORECASE)
_QUAD = r"\s*(-?[0-9]{1,9}(?:\.[0-9]{1,20})?)\s*"
_BOX = re.compile(rf"[\[(]{_QUAD},{_QUAD},{_QUAD},{_QUAD}[\])]", re.ASCII)
_NAMED = re.compile(
    rf"x_?(?:1|min)\W{{1,4}}{_QUAD}\W{{1,4}}y_?(?:1|min)\W{{1,4}}{_QUAD}\W{{1,4}}"
    rf"x_?(?:2|max)\W{{1,4}}{_QUAD}\W{{1,4}}y_?(?:2|max)\W{{1,4}}{_QUAD}",
    re.ASCII | re.IGNORECASE,
)
_FLAT = re.compile(r"\[([-0-9.,\s]{7,2000})\]", re.ASCII)
_KEY = re.compile(r"[\"']([0-9A-Za-z]{1,3})[\"']\s*:", re.ASCII)
_EMPTY = re.compile(
    r"^\W*(?:\[\s*\]|\{\s*\}|none|no (?:findings?|abnormalit\w+|lesions?|labels?)\b.{0,40})\W*$", re.IGNORECASE
)


REFUSAL = re.compile(
    r"\b(?:i(?: am|'m|’m)? (?:can ?not|can(?:'|’)t|unable|not able|sorry)|(?:it is|it's) (?:im|not )possible to|"
    r"(?:un|not )able to (?:answer|determine|provide|assess)|as an ai\b|can(?:no|')t be determined)",
    re.IGNORECASE,
)
"""How models decline; what follows it is no answer unless it says so."""


def read_lenient(asked: Asked, text: str) -> Value | None:
    """The value that an answer means, or None. What the strict reader reads is read the same."""
    exact = read_strict(asked, text)
    if exact is not None or asked.task == "report":
        return exact
    text = text[:LONGEST].strip()
    match asked.task:
        case "classification":
            return _option(asked, text)
        case "multi_label":
            return _labels(asked, text)
        case "detection":
            return _boxes(asked, text)
        case "instance_detection":
            return _instances(asked, text)
        case "counting" | "regression":
            return _number(text)
    raise ValueError(f"no reader for task {asked.task!r}")


def _option(asked: Asked, text: str) -> str | None:
    """A marked letter, else the words of one option, else a letter that stands alone."""
    by_letter = dict(zip(asked.letters, asked.words, strict=False))
    if not asked.by_letter:
        letter = _marked_letter(asked.letters, text) if by_letter else None
        return by_letter.get(letter) or _word(asked.words, text)
    letters = asked.letters or tuple("ABCDEFGHIJK")
    backwards = {option: key for key, option in by_letter.items()}
    word = _word(asked.words, text)
    return _marked_letter(letters, text) or backwards.get(word) or _lone_letter(letters, text)


def _marked_letter(letters: tuple[str, ...], text: str) -> str | None:
    """The letter after "answer", "option", …: after the last one, for models that think aloud; else `B)`, `**B**`."""
    one = "|".join(letters)
    alone = _ALONE.format(letters=one)
    if re.fullmatch(rf"\W*(?:{one})\W*", text, re.IGNORECASE):
        return re.sub(r"\W", "", text).upper()
    said = [m.group(1) for m in re.finditer(rf"\b(?i:{_SAYS}){_LINK}{alone}(?!\s+[a-z])", text)]
    if said:
        return said[-1]
    listed = re.search(rf"(?:^|[\s*(\[\"'`]){alone}\s*(?:[):.]|\*\*|\])", text)
    own_line = re.search(rf"^[^\w\n]*({one})[^\w\n]*$", text, re.MULTILINE)
    found = listed or own_line
    return found.group(1) if found else None


def _lone_letter(letters: tuple[str, ...], text: str) -> str | None:
    """A capital letter that is a word of its own; not the article "A" and not "I"."""
    found = re.search(_ALONE.format(letters="|".join(letters)) + r"(?!\s+[A-Za-z])", text)
    return found.group(1) if found else None


def _word(words: tuple[str, ...], text: str) -> str | None:
    """The option whose words the text holds: the first one named after the last "answer", else the first one named.

    Options that are only listed after a refusal are no answer.
    """
    plain = squeezed(text)
    places = []
    for word in words:
        for match in re.finditer(rf"(?<![a-z0-9]){re.escape(squeezed(word))}(?![a-z0-9])", plain):
            places.append((match.start(), -len(word), word))
    if not places:
        return None
    places = [p for p in places if not any(q[0] <= p[0] and q[0] - q[1] >= p[0] - p[1] and q != p for q in places)]
    marker = max((m.end() for m in re.finditer(r"\banswer\b", plain)), default=None)
    after = [place for place in places if marker is not None and place[0] >= marker]
    refusal = REFUSAL.search(plain)
    if not after and refusal and refusal.start() < min(places)[0]:
        return None
    return min(after or places)[2]


def _labels(asked: Asked, text: str) -> list[str] | None:
    """Labels of the question's list that the text names; without a list, parts of a text that is a list."""
    if _EMPTY.match(text):
        return []
    if asked.choices:
        plain = squeezed(text)
        found = []
        for choice in sorted(asked.choices, key=len, reverse=True):
            pattern = re.compile(rf"(?<![a-z0-9]){re.escape(squeezed(choice))}(?![a-z0-9])")
            match = pattern.search(plain)
            if match:
                found.append((match.start(), choice))
                plain = pattern.sub(lambda m: " " * len(m.group()), plain)
        return [choice for _, choice in sorted(found)] or None
    other = ";" if ";" in text else asked.separator if asked.separator in text else ","
    parts = [part.strip(" .\n*-") for part in split_labels(text.split("\n\n")[0], other, {})]
    parts = [part for part in parts if part]
    if not parts or any(len(part) > 60 or part.count(" ") > 6 for part in parts):
        return None
    return list(dict.fromkeys(parts))


def _numbers(match: re.Match) -> list[float]:
    return [float(number) for number in match.groups()]


def _found_boxes(text: str, convention: str) -> list[Box]:
    """Every complete box of a text once; a model that loops repeats its boxes."""
    quads = [_numbers(match) for match in _BOX.finditer(text)] or [_numbers(m) for m in _NAMED.finditer(text)]
    if not quads:
        flat = _FLAT.search(text)
        numbers = re.findall(r"-?[0-9]+(?:\.[0-9]+)?", flat.group(1)) if flat else []
        if len(numbers) % 4 == 0 and all(len(number) <= 30 for number in numbers):
            quads = [[float(n) for n in numbers[i : i + 4]] for i in range(0, len(numbers), 4)]
    corners = [as_corners(quad, convention) for quad in quads if all(abs(n) < LARGEST for n in quad)]
    return [list(box) for box in dict.fromkeys(tuple(box) for box in corners)]


def _boxes(asked: Asked, text: str) -> list[Box] | None:
    if _EMPTY.match(text):
        return []
    return _found_boxes(text, asked.convention) or None


def _instances(asked: Asked, text: str) -> dict[str, list[Box]] | None:
    """Boxes after each quoted key; a truncated last box is not read."""
    if _EMPTY.match(text):
        return {}
    keys = list(_KEY.finditer(text))
    found: dict[str, list[Box]] = {}
    ends = [key.start() for key in keys[1:]] + [len(text)]
    for key, end in zip(keys, ends, strict=False):
        part = text[key.end() : end]
        boxes = _found_boxes(part, asked.convention)
        if boxes:
            known = found.setdefault(key.group(1).casefold(), [])
            known.extend(box for box in boxes if box not in known)
    return found or None


def _number(text: str) -> float | None:
    """The number after the last "answer", else after the first "count", "about", …, else the first one."""
    numbers = [m for m in _NUMBER.finditer(text) if len(m.group(1)) <= 30]
    readable = [(m, float(m.group(1).replace(",", ""))) for m in numbers]
    readable = [(m, value) for m, value in readable if abs(value) < LARGEST]
    if not readable:
        return None
    final = [value for m, value in readable if _FINAL.search(text[max(0, m.start() - 60) : m.start()])]
    told = [value for m, value in readable if _TOLD.search(text[max(0, m.start() - 80) : m.start()])]
    return final[-1] if final else told[0] if told else readable[0][1]
