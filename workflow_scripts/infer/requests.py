"""What is asked: one request a row, worded as in training, within its task's budget."""

from collections.abc import Sequence

from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.requests import Request, RequestImage
from workflow_scripts.models.prompts import chat
from workflow_scripts.tasks.grammars import answered_in_words, grammar_of


def requests_of(rows: Sequence[dict], prompt: Prompt, budgets: dict[str, int]) -> list[Request]:
    """One request a row; `budgets` gives the most new tokens by task."""
    return [
        Request(
            uid=row["uid"],
            chat=chat(row["question"], len(row["images"]), prompt.system),
            images=tuple(RequestImage(image["sha256"], image["path"]) for image in row["images"]),
            max_new_tokens=budgets[row["task"]],
        )
        for row in rows
    ]


def grammars_of(rows: Sequence[dict], split: Sequence[dict], budgets: dict[str, int]) -> list[str]:
    """The grammar of each row's asked format; whether an option's letter or words are asked for is `split`'s custom."""
    in_words = answered_in_words(split)
    return [grammar_of(row, budgets[row["task"]], (row["dataset"], row["task"]) in in_words) for row in rows]
