"""Alternatives that a question names without letters: "Is the lesion left or right?"."""

import re
from functools import lru_cache

from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.questions import CACHED_QUESTIONS

_MOST_WORDS = 3
"""Of one alternative."""
_LEADING = re.compile(r"^(?:(?:an?|the|in|on|at|from|of|to|either|more|mostly)\s+)+", re.IGNORECASE)
_LAST_WORD = re.compile(r"(?:^|[\s(])([\w/+-]+)$")
_ASKS = re.compile(r"^(?:which|what|where|who|whose|how|when)\b|:$", re.IGNORECASE)


@lru_cache(maxsize=CACHED_QUESTIONS)
def alternatives_in(question: str) -> tuple[str, ...]:
    """What stands around the last "or" of a question, and before it between commas; empty where that is not clear.

    Clear are single words ("axial, coronal or sagittal"), and several words that end alike ("left lung or right lung").
    """
    head, joined, rest = " ".join(question.split()).rpartition(" or ")
    last = _LEADING.sub("", rest.rstrip("?. ")).split()
    head = head.rstrip(" ,")
    if not joined or not last or len(last) > _MOST_WORDS or re.search(r"[,?.;:]", " ".join(last)):
        return ()
    if last[0].lower() == "not":  # "clear or not?" asks for yes or no
        return ()
    if len(last) > 1:
        first = head.split()[-len(last) :]
        alike = len(first) == len(last) and squeezed(first[-1]) == squeezed(last[-1])
        return _distinct([" ".join(first), " ".join(last)]) if alike else ()
    return _distinct([*_single_words(head), *last])


def _single_words(head: str) -> list[str]:
    """The words of a list whose last item is cut off: those between commas, and the one that ends what is before.

    A question word before a list is none of its items: "Which side, left …".
    """
    items: list[str] = []
    for segment in re.split(r",|(?<=:)\s", head)[::-1]:
        bare = _LEADING.sub("", segment.strip())
        if items and _ASKS.search(bare):
            break
        word = _LAST_WORD.search(bare)
        if word is None:
            break
        items.insert(0, word[1])
        if " " in bare:
            break
    return items


def _distinct(items: list[str]) -> tuple[str, ...]:
    """Items, each once whatever its case; none where fewer than two are left."""
    first: dict[str, str] = {}
    for item in items:
        first.setdefault(squeezed(item), item)
    if {"yes", "no"} <= first.keys():  # "Is the heart enlarged, yes or no?"
        return first["yes"], first["no"]
    return tuple(first.values()) if len(first) > 1 else ()
