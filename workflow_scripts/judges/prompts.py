"""The prompts of model judges, CRIMSON's and GREEN's from the upstream packages, and the check of their replies."""

import json

from workflow_scripts.core.config.judges import Formula
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of
from workflow_scripts.judges import upstream
from workflow_scripts.judges.crimson import read_crimson
from workflow_scripts.judges.green import read_green
from workflow_scripts.judges.judgements import Judgement, Pair
from workflow_scripts.judges.replies import InvalidJudgement
from workflow_scripts.judges.rubrics.prompt import rubric_chat
from workflow_scripts.judges.rubrics.reply import Abstained, read_rubric
from workflow_scripts.judges.rubrics.rubric import Rubric, rubric_of


def chat_of(pair: Pair, metric: Formula, *, guidelines: bool) -> list[dict[str, str]]:
    """The chat that asks a judge about a pair.

    Of reports it leaves out the context of the pair: upstream's patient context means age and indication, which the
    data do not give. An answer that a rubric grades stands beside its question.
    """
    if metric == "rubric":
        question, rubric = question_and_rubric(pair)
        return rubric_chat(question, pair.reference, pair.hypothesis, rubric)
    if metric == "green":
        return [{"role": "user", "content": upstream.green_prompt(pair.reference, pair.hypothesis)}]
    return [
        {"role": "system", "content": upstream.crimson_system()},
        {"role": "user", "content": upstream.crimson_prompt(pair.reference, pair.hypothesis, guidelines=guidelines)},
    ]


def prompt_hash(metric: Formula, *, guidelines: bool) -> str:
    """SHA-256 of the prompt around a pair, whichever version of the upstream package writes it; for cache keys.

    The rubric is part of the pair; so it is the words around rubrics of each form that count.
    """
    chats = [chat_of(pair, metric, guidelines=guidelines) for pair in (_OF_RUBRICS if metric == "rubric" else _EMPTY)]
    return sha256_of(canonical_json(chats[0] if len(chats) == 1 else chats).encode())


_EMPTY = (Pair("", ""),)
_LEVELS = {"0": "", "1": ""}
_FORMS: tuple[dict[str, object], ...] = (
    {"formula": "level", "levels": _LEVELS},
    {"formula": "sum", "items": [{"text": "", "levels": _LEVELS}]},
    {"formula": "sum", "items": [{"text": "", "levels": _LEVELS, "met": 1}]},
    {"formula": "share", "items": [{"text": "", "levels": _LEVELS, "met": 1}]},
)
_BARE: dict[str, object] = {"name": "bond", "title": "", "ask": "", "scale": {"least": 0, "most": 1}}
_OF_RUBRICS = tuple(
    Pair("?", "?", canonical_json({"question": "?", "rubric": canonical_json(_BARE | form)})) for form in _FORMS
)


def question_and_rubric(pair: Pair) -> tuple[str, Rubric]:
    """The question that a graded answer answers, and its rubric."""
    context = json.loads(pair.context)
    return context["question"], rubric_of(context["rubric"])


def checked(reply: str | None, metric: Formula, pair: Pair) -> Judgement | None:
    """A reply about a pair as a judgement: valid, abstained, or invalid with the reason; None stays None."""
    if reply is None:
        return None
    try:
        if metric == "rubric":
            read_rubric(reply, question_and_rubric(pair)[1])
        elif metric == "crimson":
            read_crimson(reply)
        else:
            read_green(reply)
    except Abstained as reason:
        return Judgement("abstained", reply, str(reason))
    except InvalidJudgement as fault:
        return Judgement("invalid", reply, str(fault))
    return Judgement("valid", reply)
