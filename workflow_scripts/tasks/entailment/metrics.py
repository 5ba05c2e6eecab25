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
from workflow_scripts.tasks.agreement import class_facts, single_class
from workflow_scripts.tasks.language.text import squeezed


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Support, hits and predictions of each class of the references. A row's score is 1 for the right class."""
    named: dict[Reading, list[str | None]] = {
        "strict": [_name(answer.strict) for answer in answers],
        "lenient": [_name(answer.lenient) for answer in answers],
    }
    columns, right = class_facts([squeezed(str(answer.reference)) for answer in answers], named)
    metrics = [metric for reading in named for metric in of_reading(_metrics(reading), reading)]
    return Facts(count_facts(answers) | columns, [*metrics, wrong_format()], right)


def _name(value: object) -> str | None:
    return None if value is None else squeezed(str(value))


def _metrics(reading: Reading) -> list[Metric]:
    named, hits = f"named {reading}", f"hits {reading}"

    def caution(s: Sums) -> Note | None:
        return single_class(s["support"])

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
            caution=caution,
        ),
        Metric("entailment_macro_f1", macro_f1, direction="higher", definition="flarebench", caution=caution),
    ]
