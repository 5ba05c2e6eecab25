"""The layout of a question about two texts: each on a line that begins with its name.

    Does the hypothesis follow from the premise? Choose from: entailment; neutral; contradiction
    Premise: The patient denies chest pain.
    Hypothesis: The patient has angina.

Names are `Premise` and `Hypothesis`, or `Sentence 1` and `Sentence 2`, or `Text 1` and `Text 2`. The second text is all
that follows its name; the first ends before it.
"""

import re

_PAIR = re.compile(
    r"^(?:premise|(?:sentence|text) 1)[ \t]*:[ \t]*(?P<first>.*?)\s*^(?:hypothesis|(?:sentence|text) 2)[ \t]*:[ \t]*"
    r"(?P<second>.*)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


def pair_in(question: str) -> tuple[str, str | None]:
    """The two texts of a question; the whole question and nothing where it has no such lines."""
    match = _PAIR.search(question)
    return (match["first"].strip(), match["second"].strip()) if match else (question.strip(), None)


def before_pair(question: str) -> str:
    """What a question says before its two texts."""
    match = _PAIR.search(question)
    return question[: match.start()].strip() if match else question
