"""GREEN: reads the counts in a judge's reply, and scores them, as pure functions. `score(reply)` does both.

Formula: upstream Stanford-AIMI/GREEN, matched / (matched + significant errors); 0 where nothing is matched.
A reply that lacks a section or counts absurdly is invalid, which is a status and not a score.
"""

import re
from dataclasses import dataclass

from workflow_scripts.judges.replies import LONGEST, MOST, InvalidJudgement

CATEGORIES = (
    "false finding", "missing finding", "wrong location", "wrong severity", "false comparison", "missing comparison",
)  # fmt: skip
"""The six error categories (a) to (f), in upstream's order."""

_HEADER = re.compile(
    r"^[\s*#]*\[?(explanation|clinically significant errors|clinically insignificant errors|matched findings)\]?"
    r"[\s*]*:?[\s*]*",
    re.IGNORECASE | re.MULTILINE,
)
_ERROR_LINE = re.compile(r"^[\s*-]*\(?([A-Fa-f1-6])\)[^:\n]*:\s*\**\s*([0-9]{1,9})\b(?![.,][0-9])", re.MULTILINE)
_ANY_LINE = re.compile(r"^[\s*-]*\(([A-Za-z0-9])\)", re.MULTILINE)
_NONE = re.compile(
    r"[\s*-]*(?:(?:no|none|n/a|no (?:\w+ ){0,2}(?:findings?|errors?))(?: (?:found|noted|present))?\W*)?(?:\n|$)",
    re.IGNORECASE,
)
_COUNT = re.compile(r"^[\s*]*([0-9]{1,9})\b(?![.,][0-9])")


@dataclass(frozen=True)
class GreenCounts:
    """What a GREEN judge counts in a pair of reports."""

    matched: int
    significant: tuple[int, ...]  # one for each of CATEGORIES
    insignificant: tuple[int, ...] = (0,) * len(CATEGORIES)


def green(counts: GreenCounts) -> float:
    """GREEN in [0, 1]."""
    if counts.matched == 0:
        return 0.0
    return counts.matched / (counts.matched + sum(counts.significant))


def read_green(reply: str) -> GreenCounts:
    """The counts in a GREEN reply: significant errors and matched findings must be there.

    Raises:
        InvalidJudgement: a section or a count is missing, or a count is absurd.
    """
    parts = _sections(reply[:LONGEST])
    significant = _errors(parts, "clinically significant errors")
    # The score does not use the insignificant ones: without their section the reply still is a judgement.
    insignificant = _errors({"clinically insignificant errors": "none"} | parts, "clinically insignificant errors")
    body = parts.get("matched findings")
    if body is None:
        raise InvalidJudgement("the section of matched findings is missing")
    count = _COUNT.match(body)
    if count is None and not _NONE.match(body):
        raise InvalidJudgement("the matched findings have no count")
    matched = int(count.group(1)) if count else 0
    counts = GreenCounts(matched, significant, insignificant)
    if max(matched, *significant, *insignificant) > MOST:
        raise InvalidJudgement("a count is absurd")
    return counts


def _sections(reply: str) -> dict[str, str]:
    """The body of each section; of a section that is repeated, the last one: a prompt may be echoed first."""
    headers = list(_HEADER.finditer(reply))
    ends = [header.start() for header in headers[1:]] + [len(reply)]
    return {
        header.group(1).lower(): reply[header.end() : end].strip() for header, end in zip(headers, ends, strict=False)
    }


def _errors(parts: dict[str, str], title: str) -> tuple[int, ...]:
    """Counts of the six categories; a category that is not listed has none."""
    body = parts.get(title)
    if body is None:
        raise InvalidJudgement(f"the section of {title} is missing")
    lines = _ERROR_LINE.findall(body)
    if len(lines) != len(_ANY_LINE.findall(body)):
        raise InvalidJudgement(f"a line of the {title} has no count")
    if not lines and not _NONE.match(body):
        raise InvalidJudgement(f"the {title} have no counts")
    counts = [0] * len(CATEGORIES)
    seen = set()
    for label, count in lines:
        place = "abcdef".find(label.lower()) if label.isalpha() else int(label) - 1
        if place in seen:
            raise InvalidJudgement(f"the {title} name a category twice")
        seen.add(place)
        counts[place] = int(count)
    return tuple(counts)


def score(reply: str) -> float:
    """GREEN of a judge's raw reply, in [0, 1]; for instance as a reward.

    Raises:
        InvalidJudgement: the reply has no counts.
    """
    return green(read_green(reply))
