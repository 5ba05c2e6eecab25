"""BLEU-1 (Papineni et al. 2002) of one answer against one reference, as nltk's `sentence_bleu` gives it."""

import math
from collections import Counter
from collections.abc import Sequence


def bleu_1(reference: Sequence[str], answer: Sequence[str]) -> float:
    """Share of the answer's words that the reference holds, each at most as often as there, times the brevity penalty.

    An answer without words scores 0.
    """
    shared = (Counter(reference) & Counter(answer)).total()
    if not shared:
        return 0.0
    penalty = 1.0 if len(answer) > len(reference) else math.exp(1 - len(reference) / len(answer))
    return penalty * shared / len(answer)
