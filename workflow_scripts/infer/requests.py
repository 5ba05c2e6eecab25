"""The requests of rows: one a row, worded as in training, within its task's limit of new tokens."""

from collections.abc import Mapping, Sequence

from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.requests import Request, RequestImage
from workflow_scripts.core.rows import Row
from workflow_scripts.models.prompts import chat


def requests_of(rows: Sequence[Row], prompt: Prompt, max_new_tokens: Mapping[str, int]) -> list[Request]:
    """One request a row; `max_new_tokens` gives the limit of new tokens by task."""
    return [
        Request(
            uid=row.uid,
            chat=chat(row.question, len(row.images), prompt.system),
            images=tuple(RequestImage(image.sha256, image.path) for image in row.images),
            max_new_tokens=max_new_tokens[row.task],
        )
        for row in rows
    ]
