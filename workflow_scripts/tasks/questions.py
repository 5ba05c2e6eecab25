"""What a question says about its answer: lettered options, a label list, the separator, the box convention."""

import re
from functools import lru_cache

Option = tuple[str, str]
"""Letter and text."""

CACHED_QUESTIONS = 4096
"""Questions whose reading is cached: a dataset asks the same few by the thousand."""

_MARKER = {mark: re.compile(rf"(?<![A-Za-z0-9])\(?([A-Z]){re.escape(mark)}(?=\s|[A-Za-z0-9(\"'])") for mark in ").:"}
_CHOICES = (
    re.compile(r"\b(?:choose|select|pick|mark|tick|list|name)\b[^:\n\[]{0,160}:\s*", re.IGNORECASE),
    re.compile(
        r"\b(?:labels|candidates|categories|options|choices|classes|subtypes)\s*(?:are|include)?\s*:\s*", re.IGNORECASE
    ),
    re.compile(r"\b(?:choose|select|pick)\s+(?:\w+\s+){0,3}?from\s+(?=\[)", re.IGNORECASE),
    re.compile(
        r"\b(?:choose|select|pick)\s+(?:all that apply\s+)?from\s+(?!the\b|this\b|these\b)(?=[^.\n]*[;,])",
        re.IGNORECASE,
    ),
)
"""What a list of labels follows, the surest first."""
_LONGEST_LABEL = 90
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
        for match in pattern.finditer(question):
            place = ord(match.group(1)) - ord("A")
            if place == len(run):
                run.append(match)
            elif place == 0:
                best = max(best, run, key=len) if len(run) > len(best) else best
                run = [match]
        if len(run) >= len(best):
            best = run
    if len(best) < 2:
        return ()
    options = []
    for match, after in zip(best, [*best[1:], None], strict=True):
        end = after.start() if after else len(question)
        text = question[match.end() : end].strip().split("\n")[0].strip()
        options.append((match.group(1), text.rstrip(" ,;")))
    return tuple(options)


@lru_cache(maxsize=CACHED_QUESTIONS)
def choices_in(question: str) -> tuple[str, ...] | None:
    """The label list of a question, split at `;` where there is one and else at `,`; None where it lists none.

    A list follows `Choose from:`, `Select all that apply:`, `Labels:`, `Options:` and their like, or stands in brackets
    after `Pick from`. It ends with its sentence. Lettered options are no label list.
    """
    listed = _listed(question)
    if listed is None:
        return None
    return tuple(label.strip() for label in listed.split(";" if ";" in listed else ",") if label.strip())


@lru_cache(maxsize=CACHED_QUESTIONS)
def list_separator(question: str) -> str | None:
    """The separator of the question's own label list."""
    listed = _listed(question)
    return None if listed is None else ";" if ";" in listed else ","


def _listed(question: str) -> str | None:
    """The text of the question's label list."""
    if options_in(question):
        return None
    for pattern in _CHOICES:
        for match in pattern.finditer(question):
            rest = question[match.end() :]
            if rest.startswith("["):
                listed = rest[1:].partition("]")[0]
            else:
                listed = re.split(r"\.(?:\s|$)|\n", rest, maxsplit=1)[0]
            labels = [label.strip() for label in listed.split(";" if ";" in listed else ",") if label.strip()]
            if len(labels) > 1 and all(len(label) <= _LONGEST_LABEL and "?" not in label for label in labels):
                return listed
    return None


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
