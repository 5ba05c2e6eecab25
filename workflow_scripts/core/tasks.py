"""The seven task types of FLARE-MLLM-2D and the spellings under which they appear."""

from typing import Literal, get_args

Task = Literal["classification", "multi_label", "detection", "instance_detection", "counting", "regression", "report"]
TASKS: tuple[Task, ...] = get_args(Task)

_SPELLINGS: dict[str, Task] = {
    "classification": "classification",
    "multi label classification": "multi_label",
    "multilabel classification": "multi_label",
    "detection": "detection",
    "instance detection": "instance_detection",
    "counting": "counting",
    "cell counting": "counting",
    "regression": "regression",
    "report generation": "report",
}


def normalise_task(raw: object) -> Task | None:
    """The task that a `TaskType` value means, or None for one that is not known."""
    if not isinstance(raw, str):
        return None
    return _SPELLINGS.get(" ".join(raw.strip().lower().replace("_", " ").replace("-", " ").split()))
