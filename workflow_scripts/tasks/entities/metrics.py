"""Entity F1: exact places and types, overlapping places, by type.

An entity counts where its type and all its characters' places are those of a reference (CoNLL-2003's measure, Tjong Kim
Sang and De Meulder 2003; "strict" in the shared tasks of i2b2 and n2c2); micro: precision and recall are taken over all
entities of all rows. Overlapping (n2c2's "lenient"): of one type, with a character in common, each entity matched once,
in the order of the text. An answer that cannot be read names no entity.
"""

from collections.abc import Iterable, Sequence

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
from workflow_scripts.tasks.agreement import MOST_TYPES, f1_of, ratio_of, row_f1, set_facts, values_of
from workflow_scripts.tasks.entities.mentions import Entity, entity_of


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Entities of reference and answer, and those that agree, of each row: over all types, and by type.

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
        pairs = zip(references, predicted, strict=True)
        columns[f"overlaps {reading}"] = np.array([overlaps(*pair) for pair in pairs], dtype=float)
        metrics += of_reading(_metrics(reading, types), reading)
    return Facts(columns, [*metrics, wrong_format()], row_f1(columns))


def _type_of(value: str) -> str:
    return entity_of(value).type


def overlaps(reference: Iterable[str], predicted: Iterable[str]) -> int:
    """How many references have an entity of their type with a character in common, each entity matched once."""
    rest = sorted((entity for entity in map(entity_of, predicted) if entity.spans), key=lambda entity: entity.spans)
    count = 0
    for entity in sorted(map(entity_of, reference), key=lambda entity: entity.spans):
        match = next((other for other in rest if other.type == entity.type and _share(entity, other)), None)
        if match is not None:
            rest.remove(match)
            count += 1
    return count


def _share(one: Entity, other: Entity) -> bool:
    return any(start < stop and begin < end for start, end in one.spans for begin, stop in other.spans)


def _metrics(reading: Reading, types: Sequence[str]) -> list[Metric]:
    hits, reference, predicted, close = (f"{name} {reading}" for name in ("hits", "reference", "predicted", "overlaps"))
    metrics = [
        Metric(
            "entity_f1", f1_of((hits, reference, predicted)), direction="higher", definition="CoNLL 2003", primary=True
        ),
        Metric(
            "entity_precision",
            ratio_of(hits, predicted),
            direction="higher",
            definition="CoNLL 2003",
        ),
        Metric(
            "entity_recall",
            ratio_of(hits, reference),
            direction="higher",
            definition="CoNLL 2003",
        ),
        Metric(
            "entity_overlap_f1",
            f1_of((close, reference, predicted)),
            direction="higher",
            definition="flarebench (after n2c2)",
        ),
    ]
    if not types or len(types) > MOST_TYPES:
        return metrics
    of_type = [f"{name} of_type {reading}" for name in ("hits", "reference", "predicted")]

    def macro(s: Sums) -> np.ndarray:
        counts = [s[name] for name in of_type]
        scores = ratio(2 * counts[0], counts[1] + counts[2])
        known = ~np.isnan(scores)
        return ratio(np.where(known, scores, 0.0).sum(axis=-1), known.sum(axis=-1))

    metrics.append(Metric("entity_macro_f1", macro, direction="higher", definition="flarebench"))
    for place, name in enumerate(types):
        f1 = f1_of(of_type, place)
        metrics.append(Metric("entity_f1", f1, direction="higher", definition="CoNLL 2003", stratum=name))
    return metrics
