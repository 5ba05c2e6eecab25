"""Multi-label metrics, equal to scikit-learn's where it defines them. An unreadable answer is the empty set."""

import re
from collections.abc import Callable, Sequence

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
from workflow_scripts.tasks.language.text import squeezed

Sets = list[tuple[set[str], set[str]]]
"""Reference and predicted labels of each row."""


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Shared, reference and predicted labels of each row: FLARE's split at `;` and `,`, and the lenient reader's."""
    columns = count_facts(answers)
    official: Sets = [
        (_flare_set("; ".join(_labels(answer.reference))), set() if answer.text is None else _flare_set(answer.text))
        for answer in answers
    ]
    meant: Sets = [
        (
            {squeezed(label) for label in _labels(answer.reference)},
            {squeezed(label) for label in _labels(answer.lenient)},
        )
        for answer in answers
    ]
    metrics: list[Metric] = []
    readings: tuple[tuple[Reading, Sets], ...] = (("strict", official), ("lenient", meant))
    for reading, sets in readings:
        shared = np.array([len(reference & predicted) for reference, predicted in sets], dtype=float)
        reference_size = np.array([len(reference) for reference, _ in sets], dtype=float)
        predicted_size = np.array([len(predicted) for _, predicted in sets], dtype=float)
        # FLARE 2025 leaves out rows whose reference names nothing.
        labelled = reference_size > 0
        columns |= {
            f"hits {reading}": shared,
            f"reference {reading}": reference_size,
            f"predicted {reading}": predicted_size,
            f"labelled {reading}": labelled.astype(float),
            f"row_f1 {reading}": np.where(labelled, ratio(2 * shared, reference_size + predicted_size, empty=0.0), 0.0),
            f"row_precision {reading}": np.where(labelled, ratio(shared, predicted_size, empty=0.0), 0.0),
            f"row_recall {reading}": ratio(shared, reference_size, empty=0.0),
            f"exact {reading}": np.array([reference == predicted for reference, predicted in sets], dtype=float),
        }
        metrics += of_reading(_metrics(reading), reading)
    return Facts(columns, [*metrics, wrong_format()])


def _labels(value: object) -> list[str]:
    return value if isinstance(value, list) else []


def _flare_set(text: str) -> set[str]:
    """FLARE 2026: parts between `;` and `,`, stripped and in lower case; empty parts are none."""
    return {part.strip().lower() for part in re.split("[;,]", text)} - {""}


def _metrics(reading: Reading) -> list[Metric]:
    hits, reference, predicted = f"hits {reading}", f"reference {reading}", f"predicted {reading}"

    def mean_of(column: str, rows: str) -> Callable[[Sums], np.ndarray]:
        return lambda s: ratio(s[f"{column} {reading}"], s[rows])

    labelled = f"labelled {reading}"
    return [
        Metric(
            "micro_f1",
            lambda s: ratio(2 * s[hits], s[reference] + s[predicted], empty=1.0),
            direction="higher",
            definition="FLARE 2026",
            primary=True,
        ),
        Metric(
            "micro_precision",
            lambda s: ratio(s[hits], s[predicted], empty=0.0),
            direction="higher",
            definition="FLARE 2026",
        ),
        Metric(
            "micro_recall",
            lambda s: ratio(s[hits], s[reference], empty=0.0),
            direction="higher",
            definition="FLARE 2026",
        ),
        Metric("sample_f1", mean_of("row_f1", labelled), direction="higher", definition="FLARE 2025"),
        Metric("sample_precision", mean_of("row_precision", labelled), direction="higher", definition="FLARE 2025"),
        Metric("sample_recall", mean_of("row_recall", labelled), direction="higher", definition="FLARE 2025"),
        Metric("exact_sets", mean_of("exact", "rows"), direction="higher", definition="flarebench"),
    ]
