"""Instance detection: F1 over boxes matched within each identity at five overlaps, and the study's pooled R²."""

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from workflow_scripts.core.answers import Corners
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
from workflow_scripts.tasks.boxes.matching import matched, overlaps, turned
from workflow_scripts.tasks.boxes.metrics import Pair, coordinate_facts, f1_of, pooled_r2, row_f1, share_of
from workflow_scripts.tasks.instance_detection.identities import identity_order

OVERLAPS = (0.3, 0.4, 0.5, 0.6, 0.7)
ROW_OVERLAP = OVERLAPS[0]
"""What a row's score counts as a match; the report's page reads it."""
ByIdentity = dict[str, list[Corners]]


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Boxes matched within each identity at five overlaps, per identity, and coordinate errors of paired boxes.

    A row's score is its F1 at the lowest overlap, as the strict reader reads it.
    """
    references = [cast(ByIdentity, answer.reference) for answer in answers]
    columns = count_facts(answers)
    identities = sorted({identity for reference in references for identity in reference}, key=identity_order)
    columns_of = {identity: column for column, identity in enumerate(identities)}
    columns["reference"] = _sizes(references, identities)
    columns["reference_all"] = columns["reference"].sum(axis=1)
    metrics: list[Metric] = []
    readings: tuple[tuple[Reading, list[object]], ...] = (
        ("strict", [answer.strict for answer in answers]),
        ("lenient", [answer.lenient for answer in answers]),
    )
    for reading, values in readings:
        predictions = [cast(ByIdentity, value or {}) for value in values]
        hits = np.zeros((len(OVERLAPS), len(answers), len(identities)))
        for row, (reference, boxes) in enumerate(zip(references, predictions, strict=True)):
            for identity in reference.keys() & boxes.keys():
                shared = turned(overlaps(reference[identity], boxes[identity]))
                hits[:, row, columns_of[identity]] = [matched(shared, threshold) for threshold in OVERLAPS]
        columns[f"predicted {reading}"] = _sizes(predictions, identities)
        # Identities that no reference has count as predicted too.
        columns[f"predicted_all {reading}"] = np.array(
            [sum(map(len, boxes.values())) for boxes in predictions], dtype=float
        )
        for place, threshold in enumerate(OVERLAPS):
            columns[f"hits {threshold} {reading}"] = hits[place]
        metrics += of_reading(_metrics(identities, reading), reading)
    columns |= coordinate_facts([_paired(answer) for answer in answers])
    hits = columns[f"hits {ROW_OVERLAP} strict"].sum(axis=1)
    row_scores = row_f1(hits, columns["reference_all"], columns["predicted_all strict"], columns["unread"])
    return Facts(columns, [*metrics, pooled_r2(), wrong_format()], row_scores)


def _sizes(boxes: Sequence[ByIdentity], identities: list[str]) -> np.ndarray:
    """Boxes by row and identity."""
    sizes = [[float(len(of_row.get(identity, []))) for identity in identities] for of_row in boxes]
    return np.array(sizes).reshape(len(boxes), -1)


def _metrics(identities: list[str], reading: Reading) -> list[Metric]:
    reference, predicted = "reference_all", f"predicted_all {reading}"

    def hits(threshold: float) -> str:
        return f"hits {threshold} {reading}"

    def mean_over(wanted: float, named: float) -> Callable[[Sums], np.ndarray]:
        """Mean over overlaps of hits / (wanted·reference + named·predicted): F1 by halves, the others by ones."""

        def value(s: Sums) -> np.ndarray:
            whole = wanted * s[reference] + named * s[predicted]
            empty = 1.0 if wanted and named else 0.0
            return np.asarray(np.mean([ratio(s[hits(t)].sum(axis=-1), whole, empty=empty) for t in OVERLAPS], axis=0))

        return value

    def of_identity(place: int) -> Callable[[Sums], np.ndarray]:
        return lambda s: ratio(
            2 * s[hits(OVERLAPS[0])][..., place],
            s["reference"][..., place] + s[f"predicted {reading}"][..., place],
            empty=1.0,
        )

    def metric(
        name: str, value: Callable[[Sums], np.ndarray], *, primary: bool = False, stratum: str | None = None
    ) -> Metric:
        return Metric(
            name,
            value,
            direction="higher",
            definition="flarebench (after FLARE 2025)",
            primary=primary,
            stratum=stratum,
        )

    return [
        metric("f1_30", f1_of(hits(0.3), reference, predicted), primary=True),
        metric("precision_30", share_of(hits(0.3), predicted)),
        metric("recall_30", share_of(hits(0.3), reference)),
        metric("f1_50", f1_of(hits(0.5), reference, predicted)),
        metric("precision_50", share_of(hits(0.5), predicted)),
        metric("recall_50", share_of(hits(0.5), reference)),
        metric("f1_30_to_70", mean_over(0.5, 0.5)),
        metric("precision_30_to_70", mean_over(0.0, 1.0)),
        metric("recall_30_to_70", mean_over(1.0, 0.0)),
        *(metric("f1_30", of_identity(place), stratum=identity) for place, identity in enumerate(identities)),
    ]


def _paired(answer: ScoredAnswer) -> list[Pair]:
    """Boxes of one identity in the order in which they are listed, as far as both sides go."""
    predicted = cast(ByIdentity, answer.lenient or {})
    reference = cast(ByIdentity, answer.reference)
    return [
        pair for identity, boxes in reference.items() for pair in zip(boxes, predicted.get(identity, []), strict=False)
    ]
