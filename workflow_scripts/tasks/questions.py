"""What a question says about its answer: lettered options, a label list, the separator, the box convention."""

import re
from functools import lru_cache

Option = tuple[str, str]
"""Letter and text."""

CACHED_QUESTIONS = 4096
"""Questions whose reading is cached: a dataset asks the same few by the thousand."""

_MARKER = {mark: re.compile(rf"(?<![A-Za-z0-9])\(?([A-Z]){re.escape(mark)}(?=\s|[A-Za-z0-9(\"'])") for mark in ").:"}
_CHOICES = re.compile(r"\b(?:choose (?:all that apply )?from|labels|candidates|categories)\s*:\s*", re.IGNORECASE)
_CORNERS = re.compile(r"x_?min|x_?1\b.*?x_?2\b|top.?left.*bottom.?right", re.IGNORECASE | re.DOTALL)
_SIZES = re.compile(r"\bx\b[^\]]{0,12}\by\b[^\]]{0,12}\bw(?:idth)?\b", re.IGNORECASE)


@lru_cache(maxsize=CACHED_QUESTIONS)
def options_in(question: str) -> tuple[Option, ...]:
    """Lettered options in the question's text, `A)`, `A.` or `A:`, in a row from A without a gap; empty if none.

    Of several such runs the longest counts, of equals the last. An option ends at the next letter or at the line's
    end.
    """
    best: list[re.Match[str]] = []
    for pattern in _MARKER.values():
        run: list[re.Match[str]] = []
        for found in pattern.finditer(question):
            place = ord(found.group(1)) - ord("A")
            if place == len(run):
                run.append(found)
            elif place == 0:
                best = max(best, run, key=len) if len(run) > len(best) else best
                run = [found]
        if len(run) >= len(best):
            best = run
    if len(best) < 2:
        return ()
    options = []
    for found, after in zip(best, [*best[1:], None], strict=True):
        end = after.start() if after else len(question)
        text = question[found.end() : end].strip().split("\n")[0].strip()
        options.append((found.group(1), text.rstrip(" ,;")))
    return tuple(options)


@lru_cache(maxsize=CACHED_QUESTIONS)
def choices_in(question: str) -> tuple[str, ...] | None:
    """The label list after `Choose from:` and its like, split at `;` where there is one and else at `,`."""
    found = _CHOICES.search(question)
    if found is None:
        return None
    listed = re.split(r"\.(?:\s|$)|\n", question[found.end() :], maxsplit=1)[0]
    labels = (label.strip() for label in listed.split(";" if ";" in listed else ","))
    return tuple(label for label in labels if label) or None


def separator_in(question: str) -> str | None:
    """The separator that the question asks for, by its name."""
    text = question.lower()
    if "semicolon" in text or "semi-colon" in text:
        return ";"
    return "," if "comma" in text else None


@lru_cache(maxsize=CACHED_QUESTIONS)
def convention_in(question: str) -> str | None:
    """`xyxy` or `xywh` where the question says how a box is written."""
    if _CORNERS.search(question):
        return "xyxy"
    return "xywh" if _SIZES.search(question) else None
