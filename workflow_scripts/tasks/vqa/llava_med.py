"""The protocols of LLaVA-Med 1.0 (microsoft/LLaVA-Med, tag v1.0.0, `llava/eval/run_eval.py` and `run_eval_batch.py`).

Faults of upstream, which the published columns keep: its exact match is the share of the answer's words that the
reference holds; precision and recall count a word of the reference as often as the answer repeats it; substrings are
compared, so that "no" lies in "normal"; and until December 2023 (e9972cf) a closed answer that says "yes" or "no", or
holds these letters, and is wrong was left out of the accuracy.

For LLaVA-Med 1.5 no evaluation of VQA was published with the code; open recall is the share of the reference's
different words that the answer holds, as papers on it state it.
"""

import re
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from workflow_scripts.tasks.vqa.bleu import bleu_1
from workflow_scripts.tasks.vqa.letters import letters_marked

_MARKS = ';/[]"{}()=+\\_->@<`,?!'
_DIGITS_AND_COMMA = re.compile(r"\d,\d")
_FULL_STOP = re.compile(r"\.(?!\d)")
_MOST_STOPS = 32
"""Full stops that upstream takes out: it passes a flag of `re` where their number is expected."""
_NUMBERS = {
    word: str(value)
    for value, word in enumerate(
        ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
    )
}
_NUMBERS["none"] = "0"
_ARTICLES = frozenset({"a", "an", "the"})
_APOSTROPHES = (
    "ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't haven't he'd "
    "he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am mightn't mightn't've might've mustn't must've "
    "needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've shouldn't shouldn't've somebody'd've "
    "somebody'll somebody's someone'd someone'd've someone'll someone's something'd something'd've something'll "
    "that's there'd there'd've there're there's they'd they'd've they'll they're they've 'twas wasn't we'd've "
    "we've weren't what'll what're what's what've when's where'd where's where've who'd who'd've who'll who's "
    "who've why'll why're why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'd've "
    "you'll you're you've"
)


def _without_one_apostrophe(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place, letter in enumerate(word) if letter == "'"]


_WHOLE = {short: word for word in _APOSTROPHES.split() for short in _without_one_apostrophe(word)}
_WHOLE["somebody'd"] = "somebodyd"  # as upstream has it


class Answers(NamedTuple):
    """Reference and answer as upstream compares them: normalised once, and as words, normalised once more."""

    reference: str
    answer: str
    expected: Counter[str]
    given: Counter[str]


@lru_cache(maxsize=65_536)
def normalised(text: str) -> str:
    """Words in lower case without punctuation and articles, numbers up to ten as digits, apostrophes put back."""
    tight = _DIGITS_AND_COMMA.search(text) is not None
    plain = text
    for mark in _MARKS:
        plain = plain.replace(mark, "" if tight or f"{mark} " in text or f" {mark}" in text else " ")
    words = [_NUMBERS.get(word, word) for word in _FULL_STOP.sub("", plain, count=_MOST_STOPS).lower().split()]
    return " ".join(_WHOLE.get(word, word) for word in words if word not in _ARTICLES).replace(",", "")


def compared(reference: str, answer: str) -> Answers:
    """What the published scores below take."""
    expected, given = normalised(reference.lower()), normalised(answer.lower())
    return Answers(expected, given, Counter(normalised(expected).split()), Counter(normalised(given).split()))


def compared_with_letters(reference: str, answer: str) -> Answers:
    """What the mended scores take: where the reference is a letter, the letter A is no article."""
    return compared(*letters_marked(reference, answer))


def exact_match_as_published(texts: Answers) -> float:
    """Different words of the reference that the answer holds, over the answer's words: no exact match."""
    return len(texts.expected.keys() & texts.given.keys()) / texts.given.total() if texts.given else 0.0


def exact_match(texts: Answers) -> float:
    """1 where the normalised texts are equal, else 0."""
    return float(texts.reference == texts.answer)


class Overlap(NamedTuple):
    """F1, precision and recall of words."""

    f1: float
    precision: float
    recall: float


def overlap_as_published(texts: Answers) -> Overlap:
    """A word that both hold counts as often as the answer repeats it, for recall too; all are 0 without such a word."""
    hits = sum(count for word, count in texts.given.items() if word in texts.expected)
    missed = sum(count for word, count in texts.expected.items() if word not in texts.given)
    return _overlap(hits, texts.given.total(), hits + missed)


def overlap(texts: Answers) -> Overlap:
    """A word counts as often as it stands in both."""
    return _overlap((texts.expected & texts.given).total(), texts.given.total(), texts.expected.total())


def _overlap(hits: int, given: int, expected: int) -> Overlap:
    if not hits:
        return Overlap(0.0, 0.0, 0.0)
    precision, recall = hits / given, hits / expected
    return Overlap(2 * precision * recall / (precision + recall), precision, recall)


def recall_of_different_words(texts: Answers) -> float:
    """Share of the reference's different words that the answer holds: LLaVA-Med 1.5's open recall."""
    if not texts.expected:
        return 0.0
    return len(texts.expected.keys() & texts.given.keys()) / len(texts.expected)


def bleu(texts: Answers) -> float:
    """BLEU-1 of the normalised texts."""
    return bleu_1(texts.reference.split(), texts.answer.split())


def contained_as_published(texts: Answers) -> float:
    """Whether the normalised reference is a substring of the normalised answer, as `run_eval_batch.py` asks."""
    return float(texts.reference in texts.answer)


def contained(texts: Answers) -> float:
    """Whether the words of the normalised reference stand in the answer, whole and side by side; no word, no match."""
    return float(bool(texts.reference) and f" {texts.reference} " in f" {texts.answer} ")


def speaks_as_published(texts: Answers) -> bool:
    """Whether `run_eval.py` takes a closed answer for one: it holds the letters "yes" or "no"."""
    return "yes" in texts.answer or "no" in texts.answer


def closed_as_published(texts: Answers) -> float:
    """Yes/no accuracy of `run_eval.py`: the answer holds "yes" or "no", and the reference as a substring."""
    return float(speaks_as_published(texts) and texts.reference in texts.answer)


def closed(texts: Answers) -> float:
    """The same over whole words; of "yes" and "no" the answer may say one alone."""
    words = set(texts.answer.split())
    return float(len({"yes", "no"} & words) < 2) * contained(texts)
