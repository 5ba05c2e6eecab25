"""The baseline that answers as the training row with the most similar question was answered; no image is read."""

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from workflow_scripts.core.rows import Row
from workflow_scripts.tasks.baselines import Answer

DIGITS = 9
"""Similarities that agree to this many digits are equal, so that rounding decides nothing."""


def nearest(rows: Sequence[Row], answer_of: Callable[[Row, Row], str]) -> Answer:
    """The answer to the question with the largest cosine of TF-IDF vectors over words; of equals the least uid's.

    Args:
        rows: training rows of one task.
        answer_of: the task's function from a training row and the row that asks to the text of the answer.
    """
    first: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row.uid):
        first.setdefault(row.question, row)
    known = list(first.values())
    vectoriser = TfidfVectorizer(token_pattern=r"\S+")  # any question has a word
    vectors = vectoriser.fit_transform(first)
    by_question: dict[str, Row] = {}

    def answer(asking: Row) -> str:
        question = asking.question
        if question not in by_question:
            similarities = (vectors @ vectoriser.transform([question]).T).toarray()[:, 0]
            by_question[question] = known[int(np.argmax(np.round(similarities, DIGITS)))]
        return answer_of(by_question[question], asking)

    return answer
