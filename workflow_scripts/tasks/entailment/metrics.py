"""Accuracy and macro F1 of entailment, equal to scikit-learn's: MedNLI is compared by accuracy (Romanov, Shivade 2018).

An answer that cannot be read names no class: it is wrong, and takes precision from none.
"""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    Note,
    Reading,
    ScoredAnswer,
    Sums,
    count_facts,
    of_reading,
    ratio,
    wrong_format,
)
from workflow_scripts.tasks.language.text import squeezed


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Support, hits and predictions of each class of the references. A row's score is 1 for the right class."""
    references = [squeezed(str(answer.reference)) for answer in answers]
    classes = {name: place for place, name in enumerate(sorted(set(references)))}
    truth = np.array([classes[name] for name in references], dtype=int)
    columns = count_facts(answers) | {"support": _one_hot(truth, len(classes))}
    metrics: list[Metric] = []
    readings: tuple[tuple[Reading, list[object]], ...] = (
        ("strict", [answer.strict for answer in answers]),
        ("lenient", [answer.lenient for answer in answers]),
    )
    for reading, values in readings:
        names = [None if value is None else squeezed(str(value)) for value in values]
        places = np.array([-1 if name is None else classes.get(name, -1) for name in names], dtype=int)
        columns[f"named {reading}"] = _one_hot(places, len(classes))
        columns[f"hits {reading}"] = _one_hot(np.where(places == truth, places, -1), len(classes))
        metrics += of_reading(_metrics(f"named {reading}", f"hits {reading}"), reading)
    return Facts(columns, [*metrics, wrong_format()], columns["hits strict"].sum(axis=1))


def _one_hot(places: np.ndarray, classes: int) -> np.ndarray:
    """Rows × classes; a place of -1 is no class."""
    return np.asarray(places[:, None] == np.arange(classes)[None, :], dtype=float)


def _single_class(s: Sums) -> Note | None:
    return "single_class" if (s["support"] > 0).sum() == 1 else None


def _metrics(named: str, hits: str) -> list[Metric]:
    def macro_f1(s: Sums) -> np.ndarray:
        """Mean over the classes that some reference has."""
        present = s["support"] > 0
        scores = ratio(2 * s[hits], s["support"] + s[named], empty=0.0)
        return ratio(np.where(present, scores, 0.0).sum(axis=-1), present.sum(axis=-1))

    return [
        Metric(
            "entailment_accuracy",
            lambda s: ratio(s[hits].sum(axis=-1), s["rows"]),
            direction="higher",
            definition="MedNLI",
            primary=True,
            caution=_single_class,
        ),
        Metric("entailment_macro_f1", macro_f1, direction="higher", definition="flarebench", caution=_single_class),
    ]
