"""The requests of rows: worded as in training, behind their shots, within their task's limit of new tokens."""

from collections.abc import Mapping, Sequence

from workflow_scripts.core.config.systems.model import Prompt, Samples
from workflow_scripts.core.requests import Request, RequestImage, Sampling
from workflow_scripts.core.rows import Row
from workflow_scripts.infer.questions.shot_sets import ShotSets
from workflow_scripts.models.prompts import chat_of
from workflow_scripts.tasks.boxes.model_questions import question_for
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes


def requests_of(
    rows: Sequence[Row],
    prompt: Prompt,
    max_new_tokens: Mapping[str, int],
    boxes: ModelBoxes | None = None,
    shots: ShotSets | None = None,
    samples: Samples | None = None,
) -> list[Request]:
    """The requests of each row in turn: one, or as many as answers are drawn.

    Args:
        max_new_tokens: limit of new tokens, by task.
        boxes: the model's own form of boxes, where questions ask for that; None: the dataset's.
        shots: answered rows to show before each question.
        samples: how answers are drawn; None: one, the likeliest.
    """
    draws = samplings(samples)
    requests = []
    for row in rows:
        shown = [] if shots is None else shots.of(row)
        chat = chat_of(row, prompt.of(row.task), question_for(row, boxes), shown)
        images = tuple(
            RequestImage(image.sha256, image.path, image.width, image.height)
            for source in (*shown, row)
            for image in source.images
        )
        requests += [Request(row.uid, chat, images, max_new_tokens[row.task], sampling=draw) for draw in draws]
    return requests


def samplings(samples: Samples | None) -> list[Sampling | None]:
    """How each answer to a row is drawn; one that is None where the likeliest is taken."""
    if samples is None:
        return [None]
    return [Sampling(samples.temperature, samples.top_p, draw) for draw in range(samples.draws)]
