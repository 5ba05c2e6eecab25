"""The prompts of model judges, from the upstream packages, and the check of their replies."""

from workflow_scripts.core.config.judges import Formula
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of
from workflow_scripts.judges import upstream
from workflow_scripts.judges.crimson import read_crimson
from workflow_scripts.judges.green import read_green
from workflow_scripts.judges.judgements import Judgement, Pair
from workflow_scripts.judges.replies import InvalidJudgement


def chat_of(pair: Pair, metric: Formula, *, guidelines: bool) -> list[dict[str, str]]:
    """The chat that asks a judge about a pair.

    It leaves out the context of the pair: upstream's patient context means age and indication, which the
    data do not give.
    """
    if metric == "green":
        return [{"role": "user", "content": upstream.green_prompt(pair.reference, pair.hypothesis)}]
    return [
        {"role": "system", "content": upstream.crimson_system()},
        {"role": "user", "content": upstream.crimson_prompt(pair.reference, pair.hypothesis, guidelines=guidelines)},
    ]


def prompt_hash(metric: Formula, *, guidelines: bool) -> str:
    """SHA-256 of the prompt around a pair, whichever version of the upstream package writes it; for cache keys."""
    return sha256_of(canonical_json(chat_of(Pair("", ""), metric, guidelines=guidelines)).encode())


def checked(reply: str | None, metric: Formula) -> Judgement | None:
    """A reply as a judgement: valid, or invalid with the reason; None stays None."""
    if reply is None:
        return None
    try:
        if metric == "crimson":
            read_crimson(reply)
        else:
            read_green(reply)
    except InvalidJudgement as fault:
        return Judgement("invalid", reply, str(fault))
    return Judgement("valid", reply)
