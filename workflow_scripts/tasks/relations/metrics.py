"""Relation F1: a relation counts where head, tail and type are those of a reference; micro, over all rows.

The entities are given, as in relation extraction of n2c2 2018. An answer that cannot be read names no relation.
"""

from collections.abc import Sequence

from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    Reading,
    ScoredAnswer,
    count_facts,
    of_reading,
    wrong_format,
)
from workflow_scripts.tasks.agreement import MOST_TYPES, f1_of, ratio_of, row_f1, set_facts, values_of
from workflow_scripts.tasks.relations.lines import relation_of


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Relations of reference and answer, and those that agree, of each row: over all types, and by type.

    A row's score is its strict F1.
    """
    references = [values_of(answer.reference) for answer in answers]
    types = sorted({_type_of(value) for values in references for value in values})
    named: dict[Reading, list[frozenset[str]]] = {
        "strict": [values_of(answer.strict) for answer in answers],
        "lenient": [values_of(answer.lenient) for answer in answers],
    }
    columns = count_facts(answers)
    metrics: list[Metric] = []
    for reading, predicted in named.items():
        columns |= set_facts(reading, references, predicted, _type_of, types)
        metrics += of_reading(_metrics(reading, types), reading)
    return Facts(columns, [*metrics, wrong_format()], row_f1(columns))


def _type_of(value: str) -> str:
    return relation_of(value).type


def _metrics(reading: Reading, types: Sequence[str]) -> list[Metric]:
    names = hits, reference, predicted = [f"{name} {reading}" for name in ("hits", "reference", "predicted")]
    metrics = [
        Metric("relation_f1", f1_of(names), direction="higher", definition="n2c2 2018", primary=True),
        Metric(
            "relation_precision",
            ratio_of(hits, predicted),
            direction="higher",
            definition="n2c2 2018",
        ),
        Metric(
            "relation_recall",
            ratio_of(hits, reference),
            direction="higher",
            definition="n2c2 2018",
        ),
    ]
    if len(types) <= MOST_TYPES:
        of_type = [f"{name} of_type {reading}" for name in ("hits", "reference", "predicted")]
        metrics += [
            Metric(
                "relation_f1",
                f1_of(of_type, place),
                direction="higher",
                definition="n2c2 2018",
                stratum=name,
            )
            for place, name in enumerate(types)
        ]
    return metrics
