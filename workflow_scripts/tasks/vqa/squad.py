"""Token F1 and exact match of short answers, after SQuAD 1.1 (Rajpurkar et al. 2016, `evaluate-v1.1.py`).

Texts are compared in lower case, without ASCII's punctuation and without English articles. Here each Chinese character
is a word of its own, as in CMRC 2018, since SQuAD's words lie between spaces; and where the reference is a letter, the
letter A is no article. Else the values are SQuAD's.
"""

import re
import string
from collections import Counter
from functools import lru_cache

from workflow_scripts.tasks.vqa.letters import letters_marked

_HAN = re.compile(r"([\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff])")
_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation + "，。；：！？、（）")


@lru_cache(maxsize=65_536)
def tokens_of(text: str) -> tuple[str, ...]:
    """The words that are compared, in their order."""
    plain = _ARTICLES.sub(" ", text.lower().translate(_NO_PUNCTUATION))
    return tuple(_HAN.sub(r" \1 ", plain).split())


def token_f1(reference: str, answer: str) -> float:
    """F1 of the words of two texts, each counted as often as it stands in both; 0 where none is shared."""
    expected, given = map(tokens_of, letters_marked(reference, answer))
    shared = (Counter(expected) & Counter(given)).total()
    return 2 * shared / (len(expected) + len(given)) if shared else 0.0


def exact_match(reference: str, answer: str) -> float:
    """1 where the words of two texts are the same in the same order, else 0."""
    expected, given = map(tokens_of, letters_marked(reference, answer))
    return float(expected == given)
