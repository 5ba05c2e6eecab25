"""GREEN's score as a pure function of counts: matched findings against clinically significant errors.

Formula: upstream Stanford-AIMI/GREEN, matched / (matched + significant errors); 0 where nothing is matched.
"""

from dataclasses import dataclass

CATEGORIES = (
    "false finding", "missing finding", "wrong location", "wrong severity", "false comparison", "missing comparison",
)  # fmt: skip
"""The six error categories (a) to (f), in upstream's order."""


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
