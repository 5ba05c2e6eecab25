"""Reads a judge's reply about an answer that a rubric grades, and scores it, as pure functions. `score` does both.

`from workflow_scripts.judges.rubrics.reply import score` and `score('{"score": 4}', "bond")` is 4.0.

Form is repaired (fences, prose around JSON, slips of JSON, number words, `4/5`, markdown), content is not: a value that
is not on the scale, or of another scale, is invalid and never rounded or converted; so are two grades that contradict
each other, unless one calls itself final. A judge that says that it cannot grade abstains. Thoughts and echoes of the
prompt are no grades.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from workflow_scripts.core.answers import final_answer
from workflow_scripts.judges.replies import LONGEST, InvalidJudgement
from workflow_scripts.judges.rubrics.objects import grades_in, objects_in, plain_key
from workflow_scripts.judges.rubrics.prompt import echoes_of
from workflow_scripts.judges.rubrics.rubric import GradedItem, Rubric, resolved
from workflow_scripts.judges.rubrics.values import NoValue, Said, abstains, said_at

LONGEST_GRADE = 20_000
"""Characters of a reply beside its thoughts; what follows is no grade."""


class Abstained(Exception):
    """The judge says that it cannot grade the answer; the message is what it says."""


@dataclass(frozen=True)
class Grades:
    """The values that a judge gives: one of each item, or one alone."""

    values: tuple[float, ...]

    def score(self, rubric: Rubric) -> float:
        """The score on the rubric's scale."""
        return rubric.total(self.values) if rubric.items else self.values[0]

    def parts(self, rubric: Rubric) -> dict[str, float]:
        """The scores of the rubric's named parts."""
        return rubric.parts(self.values)


def score(reply: str, rubric: object) -> float | None:
    """The score in a judge's raw reply, on the rubric's scale; None where the judge abstains.

    Args:
        reply: of the judge.
        rubric: the rubric, its name, or what a row states.

    Raises:
        InvalidJudgement: the reply holds no valid grade.
        BadRubric: `rubric` is none.
    """
    of = rubric if isinstance(rubric, Rubric) else resolved(rubric)
    try:
        return score_of(reply, of)
    except Abstained:
        return None


def score_of(reply: str, rubric: Rubric) -> float:
    """The same of a rubric; raises Abstained besides."""
    return read_rubric(reply, rubric).score(rubric)


def read_rubric(reply: str, rubric: Rubric) -> Grades:
    """The grades in a reply.

    Raises:
        InvalidJudgement: there is none, one is not on its scale, or two contradict each other.
        Abstained: the judge says that it cannot grade.
    """
    final = final_answer(reply[:LONGEST])
    if final.unfinished:
        raise InvalidJudgement("a thought never ended")
    text = unicodedata.normalize("NFKC", final.text[:LONGEST_GRADE]).translate(_SIGNS)
    text = re.sub(r"[^\S\n]{3,}", "  ", text)
    for echo in echoes_of(rubric, text):
        text = text.replace(echo, " ")
    text = _PLACEHOLDER.sub(': "no value"', text)
    objects, around = objects_in(text)
    try:
        if rubric.items:
            return Grades(_item_values(objects, text, around, rubric))
        return Grades((_one_value(objects, around, rubric),))
    except (OverflowError, RecursionError):
        raise InvalidJudgement("a number is too large, or the reply is nested too deeply") from None


_SIGNS = {ord(quote): '"' for quote in "“”„«»"} | {ord(quote): "'" for quote in "‘’‚"} | {0: None, 0xFEFF: None}


_PLACEHOLDER = re.compile(r":\s*(?:MET|VALUE)\b(?!\")")
"""What the prompt writes in place of a value."""


# One value

_LABEL = re.compile(
    r"(?:^|(?<=[\s,;.(]))(?P<final>(?:final|overall|total)\s+(?:bond\s+|likert\s+)?)?"
    r"(?:(?:score|rating|grade|mark|value)\b(?:\s+(?:for|of)\s+(?:this|the)\s+(?:answer|response|plan|list))?"
    r"(?:\s+(?:is|would\s+be|of|as|=|:)|\s*[:=-])?[\s:]*|answer\s*(?:is\s*:?|:)\s*(?=[-\w]+\W*$))",
    re.IGNORECASE | re.MULTILINE,
)
_GIVEN = re.compile(
    r"\b(?:give|rate|score|grade|assign|award)\s+(?:this|it|the)?\s*(?:answer|response|plan|list)?\s*(?:as|at|with)?\s*"
    r"(?:an?\s+)?(?:(?:score|grade|rating)\s+of\s+)?(?=\d|\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten)\b)",
    re.IGNORECASE,
)
_OF_OTHERS = re.compile(
    r"(?:^|\s)(?!(?i:bond|likert|the|my|this|a|an|its|initial|proposed|suggested|likert-scale)\s)[A-Z][\w-]*\s+$"
)
"""What stands before the score of something else: a Wells score."""
_OUT_OF = re.compile(r"(?<![\w.,/])(?=\d+(?:\.\d+)?\s*(?:/|out of)\s*\d)")


def _one_value(objects: list[Any], around: str, rubric: Rubric) -> float:
    """The one grade of a rubric without items."""
    held = [entry for value in objects for entry in grades_in(value)]
    stated = [(_scalar(value, rubric), is_final) for value, is_final in held]
    prose = re.sub(r"[*_`\"#>]+", "", around)
    stated += [(_on_scale(said, rubric), is_final) for said, is_final in _labelled(prose)]
    if not stated:
        stated = [(_on_scale(said, rubric), False) for said in _bare(prose)]
    if not stated and abstains(prose):
        raise Abstained(" ".join(prose.split())[:200])
    if not stated:
        raise InvalidJudgement("the reply holds no grade")
    final = [value for value, is_final in stated if is_final]
    values = set(final[-1:] or [value for value, _ in stated])
    if len(values) > 1:
        raise InvalidJudgement("the reply holds grades that contradict each other")
    value = values.pop()
    if value is None:
        raise Abstained("the judge cannot grade the answer")
    if value not in rubric.allowed:
        allowed = ", ".join(f"{level:g}" for level in rubric.allowed)
        raise InvalidJudgement(f"the grade {value:g} is none of {allowed}")
    return value


def _scalar(value: Any, rubric: Rubric) -> float | None:
    """A JSON value as a grade; None where it abstains. A list of one is what it holds."""
    while isinstance(value, list) and len(value) == 1:
        [value] = value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise InvalidJudgement(f"the grade is {str(value)[:40]!r}, which is no value")
    if not isinstance(value, str):
        return float(value)
    said = _said(value)
    if said is not None:
        return _on_scale(said, rubric)
    if abstains(value):
        return None
    raise InvalidJudgement(f"the grade is {value[:40]!r}, which is no value")


def _said(text: str) -> Said | None:
    """`said_at`; what is no one value is invalid."""
    try:
        return said_at(text)
    except NoValue as fault:
        raise InvalidJudgement(str(fault)) from None


def _on_scale(said: Said | None, rubric: Rubric) -> float | None:
    """A value that is out of the scale's own greatest, where it says of what."""
    if said is None:
        return None
    if said.whole is not None and said.whole != rubric.scale.most:
        raise InvalidJudgement(f"the grade is out of {said.whole:g}, and the scale ends at {rubric.scale.most:g}")
    return said.number


def _labelled(prose: str) -> Iterable[tuple[Said | None, bool]]:
    """Grades that the prose names as such, None for an abstention, and whether they are called final."""
    for label in _LABEL.finditer(prose):
        if _OF_OTHERS.search(prose[max(label.start() - 60, 0) : label.start()]):
            continue
        rest = prose[label.end() : label.end() + 80]
        said = _said(rest)
        if said is not None and not re.match(r"\s*(?:on|for) (?:the|her|his|a)\b", said.rest):
            yield said, bool(label["final"])
        elif said is None and abstains(rest.split("\n")[0]):
            yield None, bool(label["final"])
    for given in _GIVEN.finditer(prose):
        yield _said(prose[given.end() : given.end() + 80]), False
    if not _LABEL.search(prose):
        for place in _OUT_OF.finditer(prose):
            yield _said(prose[place.end() : place.end() + 80]), False


def _bare(prose: str) -> Iterable[Said]:
    """The value that the whole text begins with, where no other line begins with one."""
    lines = [line.strip() for line in prose.splitlines() if line.strip()]
    numbered = [line for line in lines if re.match(r"\W*\d", line)]
    if not lines or (numbered and numbered != lines[:1]):
        return
    said = _said(lines[0])
    if said is not None and re.match(r"(?:points?\b)?\s*(?:$|[.!]\s*$|[-–—:(])", said.rest):
        yield said


# Values of items

LONGEST_LINE = 1000
"""Characters of a line about an item."""
_CONTAINER = {"items", "scores", "grades", "ratings", "points", "criteria"}
_INDEX = re.compile(r"(?:item|criterion|part|no|number)?_?(\d{1,3})(?:_.*)?", re.IGNORECASE)
_HELD = ("score", "points", "met", "criteria_met", "value", "awarded", "grade", "rating")
_NAMED = ("item", "id", "number", "name", "criterion")
_LINE = re.compile(
    r"^\W{0,20}(?:(?:item|criterion|part)\s{0,5})?#?(\d{1,3})(?!\d)[\s.):|\]=-]{1,20}?(?=-?\w)(.*)$", re.IGNORECASE
)
_MET = re.compile(
    r"\W*(?P<no>not\s+met|unmet|not\s+fulfilled|false|no)?(?P<yes>met|fulfilled|true|yes)?\b", re.IGNORECASE
)


def _item_values(objects: list[Any], text: str, around: str, rubric: Rubric) -> tuple[float, ...]:
    """The value of each item.

    Raises:
        InvalidJudgement, Abstained: see `read_rubric`.
    """
    given: dict[int, Any] = {}
    for value in objects:
        for place, held in _by_place(value, rubric.items):
            if given.setdefault(place, held) != held:
                raise InvalidJudgement(f"item {place} has two values")
    if not given:
        for line in text.splitlines():
            for place, said in _of_line(line, rubric.items):
                if given.setdefault(place, said) != said:
                    raise InvalidJudgement(f"item {place} has two values")
    if not given:
        whole = [value for entry in objects for value in (entry.values() if isinstance(entry, Mapping) else ())]
        if any(isinstance(value, str) and abstains(value) for value in whole) or abstains(around):
            raise Abstained(" ".join(text.split())[:200])
        raise InvalidJudgement("the reply holds no grades of items")
    if strange := sorted(set(given) - set(range(1, len(rubric.items) + 1))):
        raise InvalidJudgement(f"the reply grades item {strange[0]}, of {len(rubric.items)}")
    if missing := [place for place in range(1, len(rubric.items) + 1) if place not in given]:
        raise InvalidJudgement(f"item {missing[0]} has no grade")
    values = [_item_value(given[place], item, place) for place, item in enumerate(rubric.items, start=1)]
    if None in values:
        raise Abstained(f"the judge cannot grade item {values.index(None) + 1}")
    return tuple(value for value in values if value is not None)


def _by_place(value: Any, items: tuple[GradedItem, ...]) -> Iterable[tuple[int, Any]]:
    """Values by the item's place, from 1: of an object by keys, of a list by its order or what its entries name."""
    if isinstance(value, Mapping):
        inner = next((held for key, held in value.items() if plain_key(key) in _CONTAINER), None)
        if isinstance(inner, Mapping | list):
            yield from _by_place(inner, items)
            return
        for key, held in value.items():
            if (place := _place_of(key, items)) is not None:
                yield place, held
            elif isinstance(held, Mapping) and plain_key(key) in ("result", "evaluation", "assessment"):
                yield from _by_place(held, items)
    elif isinstance(value, list):
        for order, held in enumerate(value, start=1):
            named = held if isinstance(held, Mapping) else {}
            places = (_place_of(entry, items) for key, entry in named.items() if plain_key(key) in _NAMED)
            yield next((place for place in places if place is not None), order), held


def _place_of(key: object, items: tuple[GradedItem, ...]) -> int | None:
    name = plain_key(key)
    own = [place for place, item in enumerate(items, start=1) if item.name and plain_key(item.name) == name]
    if len(own) == 1:
        return own[0]
    index = _INDEX.fullmatch(name)
    return int(index[1]) if index else None


def _of_line(line: str, items: tuple[GradedItem, ...]) -> Iterable[tuple[int, Any]]:
    """An item's place and what a line of prose says of it, where it says a value."""
    match = _LINE.match(re.sub(r"[*_`\"]+", "", line[:LONGEST_LINE]))
    if match is None:
        return
    rest = match[2].strip(" |")
    for part in (rest, re.split(r"[:=|]|\s[-–—]\s", rest)[-1].strip()):
        if re.match(r"\W*(?:-?\d|met\b|not met\b|unmet\b|true\b|false\b|yes\b|no\b)", part, re.IGNORECASE) or (
            len(part) < 40 and abstains(part)
        ):
            yield int(match[1]), part
            return


def _item_value(given: Any, item: GradedItem, place: int) -> float | None:
    """A value of one item; None where the judge abstains on it."""
    while isinstance(given, Mapping):
        held = [value for key, value in given.items() if plain_key(key) in _HELD]
        if len(held) != 1:
            raise InvalidJudgement(f"item {place} has no value")
        [given] = held
    if given is None:
        return None
    if isinstance(given, bool):
        return _met(given, item, place)
    if isinstance(given, str):
        said = _said(given)
        if said is None:
            word = _MET.match(given)
            if word and (word["no"] or word["yes"]) and not given[word.end() :].strip(" .!)*"):
                return _met(not word["no"], item, place)
            if abstains(given):
                return None
            raise InvalidJudgement(f"item {place} has {given[:40]!r}, which is no value")
        most = abs(item.met) if item.met is not None else max(item.levels)
        if said.whole is not None and said.whole != most:
            raise InvalidJudgement(f"item {place} is out of {said.whole:g}, and has {most:g}")
        given = said.number
    if not isinstance(given, int | float) or float(given) not in item.levels:
        allowed = ", ".join(f"{value:g}" for value in item.levels)
        raise InvalidJudgement(f"item {place} has {str(given)[:40]}, which is none of {allowed}")
    return float(given)


def _met(met: bool, item: GradedItem, place: int) -> float:
    if item.met is None:
        raise InvalidJudgement(f"item {place} is given as met or not, and has values")
    return item.met if met else 0.0
