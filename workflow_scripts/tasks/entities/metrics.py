"""Entity F1: exact places and types, overlapping places, by type.

An entity counts where its type and all its characters' places are those of a reference (CoNLL-2003's measure, Tjong Kim
Sang and De Meulder 2003; "strict" in the shared tasks of i2b2 and n2c2); micro: precision and recall are taken over all
entities of all rows. Overlapping (n2c2's "lenient"): of one type, with a character in common, each entity matched once,
in the order of the text. An answer that cannot be read names no entity.
"""

from collections.abc import Callable, Iterable, Sequence

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
from workflow_scripts.tasks.entities.mentions import Entity, entity_of

MOST_TYPES = 60
"""Types of entities that have metrics of their own; of more, none has."""


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Entities of reference and answer, and those that agree, of each row: over all types, and by type.

    A row's score is its strict F1.
    """
    references = [frozenset(_values(answer.reference)) for answer in answers]
    types = sorted({entity_of(value).type for values in references for value in values})
    columns = count_facts(answers)
    metrics: list[Metric] = []
    scores = np.zeros(len(answers))
    readings: tuple[tuple[Reading, list[frozenset[str]]], ...] = (
        ("strict", [frozenset(_values(answer.strict)) for answer in answers]),
        ("lenient", [frozenset(_values(answer.lenient)) for answer in answers]),
    )
    for reading, predicted in readings:
        pairs = list(zip(references, predicted, strict=True))
        counts = {
            "hits": np.array([len(reference & named) for reference, named in pairs], dtype=float),
            "reference": np.array([len(reference) for reference, _ in pairs], dtype=float),
            "predicted": np.array([len(named) for _, named in pairs], dtype=float),
            "overlaps": np.array([overlaps(reference, named) for reference, named in pairs], dtype=float),
        }
        columns |= {f"{name} {reading}": column for name, column in counts.items()}
        if types and len(types) <= MOST_TYPES:
            columns |= {
                f"{name} of_type {reading}": np.array([_by_type(values, types) for values in sets], dtype=float)
                for name, sets in (
                    ("hits", [reference & named for reference, named in pairs]),
                    ("reference", references),
                    ("predicted", predicted),
                )
            }
        metrics += of_reading(_metrics(reading, types), reading)
        if reading == "strict":
            size = counts["reference"] + counts["predicted"]
            scores = ratio(2 * counts["hits"], size, empty=1.0) * (1 - columns["unread"])
    return Facts(columns, [*metrics, wrong_format()], scores)


def _values(value: object) -> list[str]:
    return value if isinstance(value, list) else []


def _by_type(values: Iterable[str], types: Sequence[str]) -> list[int]:
    named = [entity_of(value).type for value in values]
    return [named.count(name) for name in types]


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


def f1_of(counts: Sequence[str], place: int | None = None) -> Callable[[Sums], np.ndarray]:
    """F1 over sums, 1 where nothing is to be named and nothing is; of a class, where its place is given.

    Args:
        counts: facts that count hits, references and answers.
        place: of the class in these facts.
    """

    def value(s: Sums) -> np.ndarray:
        hits, reference, predicted = (s[name] if place is None else s[name][..., place] for name in counts)
        return ratio(2 * hits, reference + predicted, empty=1.0 if place is None else np.nan)

    return value


def _metrics(reading: Reading, types: Sequence[str]) -> list[Metric]:
    hits, reference, predicted, close = (f"{name} {reading}" for name in ("hits", "reference", "predicted", "overlaps"))
    metrics = [
        Metric(
            "entity_f1", f1_of((hits, reference, predicted)), direction="higher", definition="CoNLL 2003", primary=True
        ),
        Metric(
            "entity_precision",
            lambda s: ratio(s[hits], s[predicted], empty=0.0),
            direction="higher",
            definition="CoNLL 2003",
        ),
        Metric(
            "entity_recall",
            lambda s: ratio(s[hits], s[reference], empty=0.0),
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
