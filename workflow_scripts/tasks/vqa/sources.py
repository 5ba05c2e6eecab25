"""Short answers as a source of VQA writes them."""

import json

from workflow_scripts.core.answers import BadAnswer
from workflow_scripts.tasks.options import NOTHING, source_text

MISSING = NOTHING - {"none"}
"""What stands for a missing answer, in lower case: "none" is an answer ("What is abnormal?")."""


def short_answer(raw: object) -> str:
    """A source's value as text on one line.

    Raises:
        BadAnswer: there is none, or it is no text.
    """
    if raw is None or (isinstance(raw, str) and raw.strip().lower() in MISSING):
        raise BadAnswer("no_answer", f"the answer is {json.dumps(raw)}")
    return " ".join(source_text(raw).split())
