"""Detection: F1 over greedily matched boxes at overlap 0.5, and the study's coordinate errors of single boxes."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from workflow_scripts.core.answers import Corners
from workflow_scripts.core.metrics import (
    Facts,
    Metric,
    Reading,
    ScoredAnswer,
    count_facts,
    of_reading,
    wrong_format,
)
from workflow_scripts.tasks.boxes.matching import matched, overlaps
from workflow_scripts.tasks.boxes.metrics import coordinate_facts, coordinate_metrics, f1_of, pooled_r2, share_of

OVERLAP = 0.5


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Matched, reference and predicted boxes of each row, and coordinate errors of single boxes."""
    references = [cast(list[Corners], answer.reference) for answer in answers]
    columns = count_facts(answers)
    columns["reference"] = np.array([len(boxes) for boxes in references], dtype=float)
    metrics: list[Metric] = []
    readings: tuple[tuple[Reading, list[object]], ...] = (
        ("strict", [answer.strict for answer in answers]),
        ("lenient", [answer.lenient for answer in answers]),
    )
    for reading, values in readings:
        predictions = [cast(list[Corners], value or []) for value in values]
        pairs = list(zip(references, predictions, strict=True))
        columns[f"predicted {reading}"] = np.array([len(boxes) for boxes in predictions], dtype=float)
        columns[f"hits {reading}"] = np.array([matched(overlaps(*pair), OVERLAP) for pair in pairs], dtype=float)
        metrics += of_reading(_metrics(f"hits {reading}", f"predicted {reading}"), reading)
        if reading == "lenient":
            # FLARE 2025 reads leniently and gives the turns to the predicted boxes.
            columns["hits 2025"] = np.array([matched(overlaps(*pair).T, OVERLAP) for pair in pairs], dtype=float)
            metrics += of_reading(_metrics_2025(), "lenient")
    single = [
        [(answer.reference[0], answer.lenient[0])]
        if isinstance(answer.lenient, list)
        and isinstance(answer.reference, list)
        and len(answer.lenient) == len(answer.reference) == 1
        else []
        for answer in answers
    ]
    columns |= coordinate_facts(single)
    return Facts(columns, [*metrics, pooled_r2(), *coordinate_metrics(), wrong_format()])


def _metrics(hits: str, predicted: str) -> list[Metric]:
    return [
        Metric(
            "f1_50",
            f1_of(hits, "reference", predicted),
            direction="higher",
            definition="FLARE 2026",
            primary=True,
        ),
        Metric("precision_50", share_of(hits, predicted), direction="higher", definition="FLARE 2026"),
        Metric("recall_50", share_of(hits, "reference"), direction="higher", definition="FLARE 2026"),
    ]


def _metrics_2025() -> list[Metric]:
    hits, predicted = "hits 2025", "predicted lenient"
    return [
        Metric("f1_50_2025", f1_of(hits, "reference", predicted), direction="higher", definition="FLARE 2025"),
        Metric("precision_50_2025", share_of(hits, predicted), direction="higher", definition="FLARE 2025"),
        Metric("recall_50_2025", share_of(hits, "reference"), direction="higher", definition="FLARE 2025"),
    ]
