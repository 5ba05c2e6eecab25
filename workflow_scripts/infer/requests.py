"""The requests of rows: one a row, worded as in training, within its task's limit of new tokens."""

from collections.abc import Mapping, Sequence

from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.requests import Request, RequestImage
from workflow_scripts.core.rows import Row
from workflow_scripts.models.prompts import chat_of
from workflow_scripts.tasks.boxes.model_questions import question_for
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes


def requests_of(
    rows: Sequence[Row], prompt: Prompt, max_new_tokens: Mapping[str, int], boxes: ModelBoxes | None = None
) -> list[Request]:
    """One request a row.

    Args:
        max_new_tokens: limit of new tokens, by task.
        boxes: the model's own form of boxes, where questions ask for that; None: the dataset's.
    """
    return [
        Request(
            uid=row.uid,
            chat=chat_of(row, prompt.of(row.task), question_for(row, boxes)),
            images=tuple(RequestImage(image.sha256, image.path, image.width, image.height) for image in row.images),
            max_new_tokens=max_new_tokens[row.task],
        )
        for row in rows
    ]
