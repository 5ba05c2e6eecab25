"""Classification metrics, equal to scikit-learn's where it defines them.

Exact match is FLARE 2026's: the whole answer, stripped and in lower case. An answer that cannot be read names no class:
it is wrong, and it takes precision from none. `balanced_accuracy_official` is FLARE 2026's to the last row: it compares
with the source's own text (`D.` is not `D`) and leaves out rows that were not predicted.
"""

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    Reading,
    ScoredAnswer,
    Sums,
    count_facts,
    of_reading,
    ratio,
    wrong_format,
)
from workflow_scripts.tasks.agreement import class_facts, one_hot, single_class


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Support, hits and predictions of each reference class, by exact match and by the lenient reader.

    A row's score is 1 for an exact match.
    """
    references = [str(answer.reference).strip().lower() for answer in answers]
    named: dict[Reading, list[str | None]] = {
        "strict": [None if answer.text is None else answer.text.strip().lower() for answer in answers],
        "lenient": [None if answer.lenient is None else str(answer.lenient).strip().lower() for answer in answers],
    }
    columns, exact = class_facts(references, named)
    metrics = [metric for reading in named for metric in of_reading(_metrics(reading), reading)]
    columns = count_facts(answers) | columns | _official_facts(answers)
    return Facts(columns, [*metrics, _official_metric(), wrong_format()], exact)


def _official_facts(answers: Sequence[ScoredAnswer]) -> dict[str, np.ndarray]:
    """Support and hits of each class that the source's values of predicted rows name."""
    pairs = [
        None if answer.text is None else (_official_name(json.loads(answer.reference_raw)), answer.text.strip().lower())
        for answer in answers
    ]
    # Of all rows, so that systems that answered others have the same columns; a class without support counts nowhere.
    names = {_official_name(json.loads(answer.reference_raw)) for answer in answers}
    classes = {name: place for place, name in enumerate(sorted(names))}
    truth = np.array([-1 if pair is None else classes[pair[0]] for pair in pairs], dtype=int)
    hits = np.array([pair is not None and pair[0] == pair[1] for pair in pairs], dtype=bool)
    return {
        "support official": one_hot(truth, len(classes)),
        "hits official": one_hot(np.where(hits, truth, -1), len(classes)),
        "unread_official": np.array([pair is None for pair in pairs], dtype=float),
    }


def _official_name(value: object) -> str:
    return "" if value is None else str(value).strip().lower()


def _official_metric() -> Metric:
    return Metric(
        "balanced_accuracy_official",
        lambda s: _balanced(s["hits official"], s["support official"]),
        direction="higher",
        definition="FLARE 2026",
        unread="unread_official",
        caution=lambda s: single_class(s["support official"]),
    )


def _balanced(hits: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Mean recall of the classes that occur."""
    present = support > 0
    return ratio(np.where(present, ratio(hits, support), 0).sum(axis=-1), present.sum(axis=-1))


def _metrics(reading: Reading) -> list[Metric]:
    named, hits = f"named {reading}", f"hits {reading}"

    def balanced(s: Sums) -> np.ndarray:
        return _balanced(s[hits], s["support"])

    def weighted(s: Sums, share: np.ndarray) -> np.ndarray:
        return ratio((share * s["support"]).sum(axis=-1), s["support"].sum(axis=-1))

    def f1(s: Sums) -> np.ndarray:
        return weighted(s, ratio(2 * s[hits], s["support"] + s[named], empty=0.0))

    def precision(s: Sums) -> np.ndarray:
        return weighted(s, ratio(s[hits], s[named], empty=0.0))

    def accuracy(s: Sums) -> np.ndarray:
        return ratio(s[hits].sum(axis=-1), s["rows"])

    metrics = [
        Metric(
            "balanced_accuracy",
            balanced,
            direction="higher",
            definition="flarebench (after FLARE 2026)",
            primary=True,
        ),
        Metric("accuracy", accuracy, direction="higher", definition="flarebench (after FLARE 2025)"),
        Metric("weighted_f1", f1, direction="higher", definition="flarebench (after FLARE 2025)"),
        Metric("weighted_precision", precision, direction="higher", definition="flarebench (after FLARE 2025)"),
        Metric("weighted_recall", accuracy, direction="higher", definition="flarebench (after FLARE 2025)"),
    ]
    return [replace(metric, caution=lambda s: single_class(s["support"])) for metric in metrics]
