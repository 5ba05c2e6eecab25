"""Classification metrics, equal to scikit-learn's where it defines them.

Exact match follows FLARE 2026: the whole answer, stripped and in lower case. An answer that cannot be read names no
class: it is wrong, and it takes precision from none.
"""

from collections.abc import Sequence

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


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Support, hits and predictions of each reference class, by exact match and by the lenient reader."""
    references = [str(answer.reference).strip().lower() for answer in answers]
    classes = {name: place for place, name in enumerate(sorted(set(references)))}
    truth = np.array([classes[name] for name in references], dtype=int)
    exact = [None if answer.text is None else answer.text.strip().lower() for answer in answers]
    meant = [None if answer.lenient is None else str(answer.lenient).strip().lower() for answer in answers]
    columns = count_facts(answers) | {"support": _one_hot(truth, len(classes))}
    metrics: list[Metric] = []
    readings: tuple[tuple[Reading, list[str | None]], ...] = (("strict", exact), ("lenient", meant))
    for reading, names in readings:
        places = np.array([-1 if name is None else classes.get(name, -1) for name in names], dtype=int)
        columns[f"named {reading}"] = _one_hot(places, len(classes))
        columns[f"hits {reading}"] = _one_hot(np.where(places == truth, places, -1), len(classes))
        metrics += of_reading(_metrics(f"named {reading}", f"hits {reading}"), reading)
    return Facts(columns, [*metrics, wrong_format()])


def _one_hot(places: np.ndarray, width: int) -> np.ndarray:
    """One row each with a one at its place; a place of -1 gives zeros."""
    matrix = np.zeros((len(places), width))
    known = places >= 0
    matrix[np.flatnonzero(known), places[known]] = 1
    return matrix


def _metrics(named: str, hits: str) -> list[Metric]:
    def balanced(s: Sums) -> np.ndarray:
        recalls = ratio(s[hits], s["support"])
        present = s["support"] > 0
        return ratio(np.where(present, recalls, 0).sum(axis=-1), present.sum(axis=-1))

    def weighted(s: Sums, share: np.ndarray) -> np.ndarray:
        return ratio((share * s["support"]).sum(axis=-1), s["support"].sum(axis=-1))

    def f1(s: Sums) -> np.ndarray:
        return weighted(s, ratio(2 * s[hits], s["support"] + s[named], empty=0.0))

    def precision(s: Sums) -> np.ndarray:
        return weighted(s, ratio(s[hits], s[named], empty=0.0))

    def accuracy(s: Sums) -> np.ndarray:
        return ratio(s[hits].sum(axis=-1), s["rows"])

    return [
        Metric("balanced_accuracy", balanced, direction="higher", definition="FLARE 2026", primary=True),
        Metric("accuracy", accuracy, direction="higher", definition="FLARE 2025"),
        Metric("weighted_f1", f1, direction="higher", definition="FLARE 2025"),
        Metric("weighted_precision", precision, direction="higher", definition="FLARE 2025"),
        Metric("weighted_recall", accuracy, direction="higher", definition="FLARE 2025"),
    ]
