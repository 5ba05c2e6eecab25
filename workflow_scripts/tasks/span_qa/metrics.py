"""Token F1 and exact match of answers from a text, after SQuAD (Rajpurkar et al. 2016, 2018): see `tasks.vqa.squad`.

The best over the right answers of a row counts; `unanswerable` is right where the text does not answer, and only there.
"""

from collections.abc import Callable, Sequence

import numpy as np

from workflow_scripts.core.metrics import Facts, Metric, Reading, ScoredAnswer, count_facts, of_reading, wrong_format
from workflow_scripts.tasks.span_qa.spans import UNANSWERABLE
from workflow_scripts.tasks.vqa.columns import mean_of
from workflow_scripts.tasks.vqa.squad import exact_match, token_f1


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """The best score of each row over its right answers: of the whole final answer, and of what is read leniently.

    A row's score is its token F1.
    """
    columns = count_facts(answers)
    metrics: list[Metric] = []
    texts: tuple[tuple[Reading, list[str]], ...] = (
        ("strict", [answer.text or "" for answer in answers]),
        ("lenient", ["" if answer.lenient is None else str(answer.lenient) for answer in answers]),
    )
    for reading, given in texts:
        pairs = [(_right(answer.reference), text) for answer, text in zip(answers, given, strict=True)]
        columns |= {
            f"span_f1 {reading}": np.array([_best(token_f1, *pair) for pair in pairs], dtype=float),
            f"span_exact {reading}": np.array([_best(exact_match, *pair) for pair in pairs], dtype=float),
        }
        metrics += of_reading(_metrics(reading), reading)
    return Facts(columns, [*metrics, wrong_format()], columns["span_f1 strict"])


def _right(reference: object) -> list[str]:
    return [str(words) for words in reference] if isinstance(reference, list) else [str(reference)]


def _best(score: Callable[[str, str], float], right: Sequence[str], text: str) -> float:
    if UNANSWERABLE in (text.strip().lower(), *right):
        return float(list(right) == [UNANSWERABLE] and text.strip().lower() == UNANSWERABLE)
    return max(score(words, text) for words in right)


def _metrics(reading: Reading) -> list[Metric]:
    return [
        Metric(
            "span_f1",
            mean_of(f"span_f1 {reading}"),
            direction="higher",
            definition="flarebench (after SQuAD)",
            primary=True,
        ),
        Metric(
            "span_exact_match",
            mean_of(f"span_exact {reading}"),
            direction="higher",
            definition="flarebench (after SQuAD)",
        ),
    ]
