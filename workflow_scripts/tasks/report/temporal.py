"""Temporal F1: whether a report says of change what its reference says, by words of change alone.

Libra's formula (X-iZhang/Libra 0d6c56a, `libra/eval/temporal_f1.py`), with its faults: which finding changed, and which
way, does not matter ("no longer enlarged" has `enlarged`), and signs that are taken out join what they stood between
("new/larger" has no word of change).
"""

import re

WORDS = frozenset(
    re.findall(
        r"\w+",
        "bigger change cleared constant decrease decreased decreasing elevated elevation enlarged enlargement "
        "enlarging expanded greater growing improved improvement improving increase increased increasing "
        "larger new persistence persistent persisting progression progressive reduced removal resolution "
        "resolved resolving smaller stability stable stably unaltered unchanged unfolded worse worsen "
        "worsened worsening",
    )
)
"""Words of change."""

EPSILON = 1e-10
"""Added to counts, and what a report scores that speaks of change where its reference does not."""

_TAKEN_OUT = re.compile(r"[^\w\s.,:;()-]")


def change_words(text: str) -> frozenset[str]:
    """The words of change in a report."""
    plain = _TAKEN_OUT.sub("", re.sub(r"[_-]+", " ", text)).lower()
    return WORDS.intersection(re.findall(r"\w+", plain))


def temporal_f1(reference: str, hypothesis: str) -> float:
    """F1 of the sets of words of change, between 0 and 1; 1 where neither report has any."""
    expected, said = change_words(reference), change_words(hypothesis)
    if not expected:
        return EPSILON if said else 1.0
    shared = len(expected & said) + EPSILON
    precision, recall = shared / (len(said) + EPSILON), shared / (len(expected) + EPSILON)
    return 2 * precision * recall / (precision + recall + EPSILON)
