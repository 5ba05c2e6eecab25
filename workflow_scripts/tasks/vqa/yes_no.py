"""Yes and no as models say them, and questions that ask for them."""

import re

from workflow_scripts.tasks.language.refusals import declined_spans, lies_in
from workflow_scripts.tasks.language.text import LONGEST, lowered

YES_NO = ("yes", "no")

_VERB = (
    r"(?:is|are|was|were|does|do|did|has|have|had|can|could|should|would|will|may|might|isn['’]t|aren['’]t|doesn['’]t)"
)
_POLAR = re.compile(rf"^(?:[^,?]{{0,80}},\s*)?{_VERB}\b(?!\s+what\b)")
_COPULAR = re.compile(r"^(?:[^,?]{0,80},\s*)?(?:is|are|was|were)\s+(?!there\b)")
_MARKS = r"[\s*_\"'`“”‘’()\[\]{}$\\]{0,8}"
_CLOSED = (
    rf"(?={_MARKS}(?:[,.;:!—–\n-]|$)|\s+(?:it|there|this|that|they|the|these|he|she|i|because|since|as)\b)"
    r"(?!\s*(?:or\b|/|and\b))"
)
"""What may follow the word: "No lesion" is a name, and "yes or no" is no answer."""
_ANSWER = re.compile(
    rf"\banswer\b(?:[^.\n]{{0,60}}?\b(?:is|be)\b|\W{{0,6}}?[:=\n]){_MARKS}:?{_MARKS}(?:boxed\{{)?{_MARKS}(?P<said>yes|no)\b{_CLOSED}"
)
_SAID = re.compile(rf"(?:^|[.!?:;]\s|\n){_MARKS}(?:-\s{{0,4}})?(?P<said>yes|no)\b{_CLOSED}")
_MARKED = re.compile(r"(?:\*\*|[\"'`“])(?P<said>yes|no)[.,!]?(?:\*\*|[\"'`”])(?!\s*(?:or\b|/|and\b))")


def is_polar(question: str) -> bool:
    """Whether a question begins with a verb: "Is there a fracture?", "In this image, are the lungs clear?"."""
    return _POLAR.match(lowered(question.strip())) is not None


def is_copular(question: str) -> bool:
    """Whether such a question is about a thing that is named, and not whether there is one: "Is the lesion …?"."""
    return _COPULAR.match(lowered(question.strip())) is not None


def said_yes_or_no(text: str) -> str | None:
    """The one of yes and no that a text says as a word of its own: after "answer", else where it begins a sentence.

    "There is no fracture" says neither: without its question it denies a fracture, not that a bone is whole.
    """
    plain = lowered(text[:LONGEST].strip())
    answers = [match["said"] for match in _ANSWER.finditer(plain)]
    if answers:
        return answers[-1]
    declined = declined_spans(plain)
    said = {
        match["said"]
        for pattern in (_SAID, _MARKED)
        for match in pattern.finditer(plain)
        if not lies_in(declined, match.start("said"))
    }
    return said.pop() if len(said) == 1 else None
