"""The script that a report is written in: what a text metric cannot read has no score, never zero."""

from bisect import bisect_right
from functools import lru_cache
from typing import Literal

Script = Literal["latin", "han", "spaced", "unspaced"]
"""Latin letters without or with few accents; Chinese; other words between spaces; scripts without spaces."""

HAN = ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x3FFFF))
UNSPACED = ((0x0E00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF))
"""Thai, Lao and Tibetan; Burmese; Khmer; Japanese kana."""

_STARTS = sorted(
    (first, last, name) for name, blocks in (("han", HAN), ("unspaced", UNSPACED)) for first, last in blocks
)


@lru_cache(maxsize=65_536)
def script_of(text: str) -> Script:
    """The script of most letters; Latin where there are none. Japanese is kana between Chinese characters: unspaced."""
    letters = [letter for letter in text if letter.isalpha()]
    foreign = [letter for letter in letters if not letter.isascii()]
    if 2 * len(foreign) <= len(letters):
        return "latin"
    blocks = [_block(ord(letter)) for letter in foreign]
    han, unspaced = blocks.count("han"), blocks.count("unspaced")
    if 2 * (han + unspaced) <= len(foreign):
        return "spaced"
    return "han" if 10 * unspaced < han else "unspaced"


def _block(code: int) -> str | None:
    place = bisect_right(_STARTS, (code, 0x110000, "")) - 1
    return _STARTS[place][2] if place >= 0 and code <= _STARTS[place][1] else None
