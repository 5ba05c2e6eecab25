"""Relation F1: a relation counts where head, tail and type are those of a reference; micro, over all rows.

The entities are given, as in relation extraction of n2c2 2018. An answer that cannot be read names no relation.
"""

from collections.abc import Sequence

import numpy as np

from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    Reading,
    ScoredAnswer,
    count_facts,
    of_reading,
    ratio,
    wrong_format,
)
from workflow_scripts.tasks.entities.metrics import MOST_TYPES, f1_of
from workflow_scripts.tasks.relations.lines import relation_of


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Relations of reference and answer, and those that agree, of each row: over all types, and by type.

    A row's score is its strict F1.
    """
    references = [frozenset(_values(answer.reference)) for answer in answers]
    types = sorted({relation_of(value).type for values in references for value in values})
    columns = count_facts(answers)
    metrics: list[Metric] = []
    scores = np.zeros(len(answers))
    readings: tuple[tuple[Reading, list[object]], ...] = (
        ("strict", [answer.strict for answer in answers]),
        ("lenient", [answer.lenient for answer in answers]),
    )
    for reading, values in readings:
        predicted = [frozenset(_values(value)) for value in values]
        sets = {
            "hits": [reference & named for reference, named in zip(references, predicted, strict=True)],
            "reference": references,
            "predicted": predicted,
        }
        for name, listed in sets.items():
            columns[f"{name} {reading}"] = np.array([len(values) for values in listed], dtype=float)
            if types and len(types) <= MOST_TYPES:
                columns[f"{name} of_type {reading}"] = np.array([_by_type(v, types) for v in listed], dtype=float)
        metrics += of_reading(_metrics(reading, types), reading)
        if reading == "strict":
            size = columns["reference strict"] + columns["predicted strict"]
            scores = ratio(2 * columns["hits strict"], size, empty=1.0) * (1 - columns["unread"])
    return Facts(columns, [*metrics, wrong_format()], scores)


def _values(value: object) -> list[str]:
    return value if isinstance(value, list) else []


def _by_type(values: frozenset[str], types: Sequence[str]) -> list[int]:
    named = [relation_of(value).type for value in values]
    return [named.count(name) for name in types]


def _metrics(reading: Reading, types: Sequence[str]) -> list[Metric]:
    names = hits, reference, predicted = [f"{name} {reading}" for name in ("hits", "reference", "predicted")]
    metrics = [
        Metric("relation_f1", f1_of(names), direction="higher", definition="n2c2 2018", primary=True),
        Metric(
            "relation_precision",
            lambda s: ratio(s[hits], s[predicted], empty=0.0),
            direction="higher",
            definition="n2c2 2018",
        ),
        Metric(
            "relation_recall",
            lambda s: ratio(s[hits], s[reference], empty=0.0),
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
