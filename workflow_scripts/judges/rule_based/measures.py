"""Sizes in millimetres, and the ribs or vertebrae that a phrase names."""

import re
from itertools import pairwise

_SIZE = re.compile(
    r"(\d{1,3}(?:\.\d{1,2})?)\s*(?:x\s*(\d{1,3}(?:\.\d{1,2})?)\s*)?(?:x\s*\d{1,3}(?:\.\d{1,2})?\s*)?-?\s*"
    r"(mm|cm|millimeters?|centimeters?|millimetres?|centimetres?)\b"
)
_ORDINALS = dict(
    zip(
        ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
         "twelfth"),
        range(1, 13),
        strict=True,
    )
)  # fmt: skip
_RIB = re.compile(rf"\b(?:{'|'.join(_ORDINALS)}|\d{{1,2}}(?:st|nd|rd|th|(?=-\d{{1,2}}(?:st|nd|rd|th))))")
_BARE_RIB = re.compile(r"\b\d{1,2}\b(?!\s*[cm]m)")
_VERTEBRA = re.compile(r"\b([ctl])-?(\d{1,2})\b(?:\s*-\s*(\d{1,2})\b)?")
_RANGE = re.compile(r"\s*(?:rib\s*)?(?:-|to|through|thru)\s*(?:the\s+)?")
_SPINE = {"c": 0, "t": 7, "l": 19}


def sizes_of(text: str) -> list[float]:
    """The measures of a phrase in mm, in its order; of "2 x 3 cm" the larger one."""
    return [
        max(float(number) for number in match.groups()[:2] if number) * (10 if match.group(3).startswith("c") else 1)
        for match in _SIZE.finditer(text)
    ]


def places_of(text: str, kind: str) -> frozenset[int]:
    """Numbers of the ribs (1 to 12) or vertebrae (counted from the first cervical one) that a phrase names."""
    if kind == "spine":
        spots = [
            (match.start(), match.end(), _SPINE[match.group(1)] + int(number))
            for match in _VERTEBRA.finditer(text)
            for number in match.groups()[1:]
            if number
        ]
    elif kind == "rib" and "rib" in text:
        spots = [
            (match.start(), match.end(), _ORDINALS.get(match.group()) or int(re.sub(r"\D", "", match.group())))
            for match in (_BARE_RIB if re.search(r"ribs? \d", text) else _RIB).finditer(text)
        ]
    else:
        return frozenset()
    places = {number for _, _, number in spots}
    for (_, end, first), (start, _, last) in pairwise(spots):
        if first < last <= first + 12 and (end > start or _RANGE.fullmatch(text[end:start])):
            places |= set(range(first, last + 1))
    return frozenset(place for place in places if place <= 24)
