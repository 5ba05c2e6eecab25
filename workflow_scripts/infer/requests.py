"""What is asked: one request a row, worded as in training, within its task's budget."""

from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.engines.exchange import Picture, Request
from workflow_scripts.models.prompts import chat


def requests_of(rows: list[dict], prompt: Prompt, budgets: dict[str, int]) -> list[Request]:
    """One request a row; `budgets` gives the most new tokens by task."""
    return [
        Request(
            uid=row["uid"],
            chat=chat(row["question"], len(row["images"]), prompt.system),
            images=tuple(Picture(image["sha256"], image["path"]) for image in row["images"]),
            max_new_tokens=budgets[row["task"]],
        )
        for row in rows
    ]
