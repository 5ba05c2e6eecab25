"""What model judges are asked, and how their replies are checked; prompts come from the upstream packages."""

from workflow_scripts.judges import upstream
from workflow_scripts.judges.crimson import InvalidJudgement
from workflow_scripts.judges.judgements import Judgement, Pair
from workflow_scripts.judges.replies import read_crimson, read_green


def chat_of(pair: Pair, metric: str, *, guidelines: bool) -> list[dict[str, str]]:
    """Messages that put a pair before a judge.

    The context of a pair is not told to the judge: upstream's patient context means age and indication, which the
    data do not give.
    """
    if metric == "green":
        return [{"role": "user", "content": upstream.green_prompt(pair.reference, pair.hypothesis)}]
    return [
        {"role": "system", "content": upstream.crimson_system()},
        {"role": "user", "content": upstream.crimson_prompt(pair.reference, pair.hypothesis, guidelines=guidelines)},
    ]


def checked(reply: str | None, metric: str) -> Judgement | None:
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
