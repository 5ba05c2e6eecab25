"""Detection: F1 over greedily matched boxes at overlap 0.5, and the study's coordinate errors of single boxes.

`f1_50_official` is FLARE 2026's to the last row, see `flare_2026`: broken JSON leaves a row out, in `f1_50` it
misses every box.
"""

from collections.abc import Sequence
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
from workflow_scripts.tasks.boxes.metrics import (
    coordinate_facts,
    coordinate_metrics,
    f1_of,
    pooled_r2,
    row_f1,
    share_of,
)
from workflow_scripts.tasks.detection.flare_2026 import Counts, count_boxes

ROW_OVERLAP = 0.5
"""What a row's score counts as a match; the report's page reads it."""


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Matched, reference and predicted boxes of each row, and coordinate errors of single boxes.

    A row's score is its F1 as the strict reader reads it.
    """
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
        columns[f"hits {reading}"] = np.array([matched(overlaps(*pair), ROW_OVERLAP) for pair in pairs], dtype=float)
        metrics += of_reading(_metrics(f"hits {reading}", f"predicted {reading}"), reading)
        if reading == "lenient":
            # FLARE 2025 reads leniently and gives the turns to the predicted boxes.
            columns["hits 2025"] = np.array(
                [matched(turned(overlaps(*pair)), ROW_OVERLAP) for pair in pairs], dtype=float
            )
            metrics += of_reading(_metrics_2025(), "lenient")
    single = [
        [(answer.reference[0], answer.lenient[0])]
        if isinstance(answer.lenient, list)
        and isinstance(answer.reference, list)
        and len(answer.lenient) == len(answer.reference) == 1
        else []
        for answer in answers
    ]
    columns |= coordinate_facts(single) | _official_facts(answers)
    row_scores = row_f1(columns["hits strict"], columns["reference"], columns["predicted strict"], columns["unread"])
    extra = [_official_metric(), pooled_r2(), *coordinate_metrics(), wrong_format()]
    return Facts(columns, [*metrics, *extra], row_scores)


def _official_facts(answers: Sequence[ScoredAnswer]) -> dict[str, np.ndarray]:
    """Matched, false and missed boxes of each row as the evaluation counts them."""
    counts = [None if answer.text is None else count_boxes(answer.reference_raw, answer.text) for answer in answers]
    boxes = np.array([row or Counts() for row in counts], dtype=float).reshape(-1, 3)
    names = ("matched official", "false official", "missed official")
    unread = np.array([row is None for row in counts], dtype=float)
    return dict(zip(names, boxes.T, strict=True)) | {"unread_official": unread}


def _official_metric() -> Metric:
    def value(s: Sums) -> np.ndarray:
        whole = 2 * s["matched official"] + s["false official"] + s["missed official"]
        return np.where(s["rows"] > s["missing"], ratio(2 * s["matched official"], whole, empty=0.0), np.nan)

    return Metric("f1_50_official", value, direction="higher", definition="FLARE 2026", unread="unread_official")


def _metrics(hits: str, predicted: str) -> list[Metric]:
    return [
        Metric(
            "f1_50",
            f1_of(hits, "reference", predicted),
            direction="higher",
            definition="flarebench (after FLARE 2026)",
            primary=True,
        ),
        Metric(
            "precision_50", share_of(hits, predicted), direction="higher", definition="flarebench (after FLARE 2026)"
        ),
        Metric(
            "recall_50", share_of(hits, "reference"), direction="higher", definition="flarebench (after FLARE 2026)"
        ),
    ]


def _metrics_2025() -> list[Metric]:
    hits, predicted = "hits 2025", "predicted lenient"
    return [
        Metric(
            "f1_50_2025",
            f1_of(hits, "reference", predicted),
            direction="higher",
            definition="flarebench (after FLARE 2025)",
        ),
        Metric(
            "precision_50_2025",
            share_of(hits, predicted),
            direction="higher",
            definition="flarebench (after FLARE 2025)",
        ),
        Metric(
            "recall_50_2025",
            share_of(hits, "reference"),
            direction="higher",
            definition="flarebench (after FLARE 2025)",
        ),
    ]
