"""What a text gives as its diagnosis and its treatment, as the evaluator of MIMIC-CDM reads them.

Asked for are `Final Diagnosis:` with one diagnosis and `Treatment:`. What is written otherwise is read all the same and
noted as out of form. The steps, in their order, are those of that evaluator at e1b4a52; each is linear in the text.
"""

import re
from itertools import pairwise
from typing import NamedTuple

from workflow_scripts.tasks.language.text import lowered

_HEADING = re.compile(r"(Final )?Diagnosis:", re.IGNORECASE)
_PREAMBLE = re.compile(r"^Based on.*:\n\n")
_SECTIONS = (
    *(("rationale",), ("note",), ("recommendation",), ("explanation",), ("finding",), ("other", "diagnos", "include")),
    *(("other", "diagnos", "considered(?: were)?"), ("management",), ("action",), ("plan",), ("reasoning",)),
    *(("assessment",), ("justification",), ("tests",), ("additional diagnoses",), ("notification",), ("impression",)),
    *(("background",), ("additional findings include",)),
)
"""Headings of what is no diagnosis: words in their order, the last one before a colon."""
_NUMBERED, _STARRED = re.compile(r"^1\.(.*)", re.MULTILINE), re.compile(r"^\*(.*)", re.MULTILINE)
_NO_SPACE = re.compile(r"\S|$")
_SEPARATOR = re.compile(r"[,.\n]|\b(?:and|or|vs[.]?)\b")


class Stated(NamedTuple):
    """What a text states."""

    diagnosis: str = ""  # empty: none
    treatment: str = ""
    diagnosis_form: bool = True  # whether the diagnosis is written as asked for
    treatment_form: bool = True


def stated(text: str) -> Stated:
    """Diagnosis and treatment of a text."""
    diagnosis, diagnosis_form = _diagnosis(text)
    heading, colon = lowered(text).find("treatment"), text.rfind(":")
    end = heading + len("treatment")
    if heading < 0 or colon < end:
        return Stated(diagnosis, "", diagnosis_form)
    return Stated(diagnosis, text[colon + 1 :].strip(), diagnosis_form, colon == end)


def _diagnosis(text: str) -> tuple[str, bool]:
    """The diagnosis, and whether it is written in the form that is asked for."""
    heading = _HEADING.search(text)
    if heading is None:
        return "", True
    given = text[heading.end() : _end_of_diagnosis(text, heading.end())].strip()
    left = _PREAMBLE.sub("", given)
    for section in _SECTIONS:
        left = left[: _start_of_section(left, section)]
    in_form = heading[1] is not None and left == given
    left, numbered = _first_of_list(left, _NUMBERED, re.compile(r"[-:].*"))
    left, starred = _first_of_list(left, _STARRED, re.compile(r"[-:] .*"))
    before = left
    left = re.sub(r"\n\n.*", "", left)
    left = _of_sentence(left)
    left = left.partition("patient has")[2] if "patient has" in left else left
    several = _several(left)
    in_form = in_form and not numbered and not starred and left == before and len(several) < 2
    return (several[0].strip() if several else ""), in_form


def _end_of_diagnosis(text: str, start: int) -> int:
    """Where a diagnosis ends: before the first full stop or line end that a treatment's heading follows in its line."""
    place = start
    for line in text[start:].split("\n"):
        plain = lowered(line)
        heading = plain.rfind("treatment", 0, plain.rfind(":") + 1)
        if heading >= 0 and place > start:
            return place - 1  # the line end before it
        stop = line.find(".", 0, max(heading, 0))
        if stop >= 0:
            return place + stop
        place += len(line) + 1
    return len(text)


def _start_of_section(text: str, section: tuple[str, ...]) -> int:
    """Where the first heading of a section begins, and so the text ends."""
    plain = lowered(text)
    *words, last = section
    if not words:
        match = re.search(rf"{last}s?:", plain)
        return len(text) if match is None else match.start()
    end = max((match.start() for match in re.finditer(rf"{last}s?:", plain)), default=-1)
    for word in reversed(words[1:]):
        end = plain.rfind(word, 0, max(end, 0))
    first = plain.find(words[0], 0, max(end, 0))
    return len(text) if first < 0 else first


def _first_of_list(text: str, entry: re.Pattern[str], explanation: re.Pattern[str]) -> tuple[str, bool]:
    """The first entry of a list without its explanation, and whether there is a list."""
    match = entry.search(text)
    if match is None or (first := match[1].strip()) == text:
        return text, False
    return explanation.sub("", first), True


def _of_sentence(text: str) -> str:
    """What follows "is" in the first sentence that says what the diagnosis is; the text where none does."""
    ends = [-1, *(match.start() for match in re.finditer(r"[.\n]", text))]
    for before, end in pairwise(ends):
        sentence = text[before + 1 : end]
        if (named := sentence.find("diagnosis")) >= 0:
            verb = re.compile(r"\bis\b").search(sentence, named + len("diagnosis"))
            if verb is not None:
                return sentence[verb.end() :].strip()
    return text


def _several(text: str) -> list[str]:
    """The diagnoses of a text that lists several; what is empty is none."""
    parts, start = [], 0
    for match in _SEPARATOR.finditer(text):
        word = match[0][0] in "aov"
        parts.append(text[start : match.start()].rstrip() if word else text[start : match.start()])
        following = _NO_SPACE.search(text, match.end()) if word else None
        start = match.end() if following is None else following.start()
    return [part for part in (*parts, text[start:]) if part]
