"""Multi-label metrics, equal to scikit-learn's where it defines them. An unreadable answer is the empty set.

`micro_f1_official` is FLARE 2026's to the last row: it splits the source's own text (`None` is a label), leaves out
rows that were not predicted or whose source is no text, and is 0 where nothing is to be named and nothing is.
"""

import json
import re
from collections.abc import Callable, Collection, Sequence

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
from workflow_scripts.tasks.agreement import f1_of, ratio_of
from workflow_scripts.tasks.language.text import squeezed
from workflow_scripts.tasks.multi_label.label_sets import FIVE, MOST_LABELS, THREE, conditions, decisions, mean_f1

Sets = list[tuple[set[str], set[str]]]
"""Reference and predicted labels of each row."""


def facts(answers: Sequence[ScoredAnswer]) -> Facts:
    """Shared, reference and predicted labels of each row: FLARE's split at `;` and `,`, and the lenient reader's.

    A row's score is its F1, of the labels as the strict reader reads them, or of the split ones where it reads none.
    """
    columns = count_facts(answers)
    official: Sets = [(_flare_set("; ".join(_labels(answer.reference))), _predicted_set(answer)) for answer in answers]
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
        columns |= _label_facts(sets, reading)
        metrics += of_reading([*_metrics(reading), *_macro_metrics(columns, reading)], reading)
    columns |= _official_facts(answers)
    return Facts(columns, [*metrics, _official_metric(), wrong_format()], _row_scores(answers, official, meant))


def _label_facts(sets: Sets, reading: Reading) -> dict[str, np.ndarray]:
    """Each label's references, predictions and hits of each row; for every set of labels whose every label occurs."""
    known = set().union(*(reference for reference, _ in sets))
    named = [(conditions(reference), conditions(predicted)) for reference, predicted in sets]
    groups: list[tuple[str, Sets, Sequence[str]]] = [("all", sets, sorted(known))] if len(known) <= MOST_LABELS else []
    groups += [(name, named, labels) for name, labels in (("five", FIVE), ("three", THREE))]
    facts: dict[str, np.ndarray] = {}
    for name, rows, labels in groups:
        if labels and (name == "all" or set(labels) <= conditions(known)):
            counts = ("label_reference", "label_predicted", "label_hits")
            columns = zip(counts, decisions(rows, labels), strict=True)
            facts |= {f"{count} {name} {reading}": column for count, column in columns}
    return facts


def _macro_metrics(columns: Collection[str], reading: Reading) -> list[Metric]:
    """Macro F1 over the sets of labels that the references hold."""

    def value(name: str) -> Callable[[Sums], np.ndarray]:
        counts = (f"{count} {name} {reading}" for count in ("label_hits", "label_reference", "label_predicted"))
        return mean_f1(*counts, every=name != "all")

    metrics = {
        "all": Metric("macro_f1", value("all"), direction="higher", definition="flarebench"),
        "five": Metric(
            "macro_f1_mimic_cxr_chexpert", value("five"), direction="higher", definition="flarebench (after MedGemma)"
        ),
        "three": Metric(
            "macro_f1_chestxray14", value("three"), direction="higher", definition="flarebench (after MedGemma)"
        ),
    }
    return [metric for name, metric in metrics.items() if f"label_hits {name} {reading}" in columns]


def _row_scores(answers: Sequence[ScoredAnswer], official: Sets, meant: Sets) -> np.ndarray:
    scores = []
    for answer, split, squeezed_sets in zip(answers, official, meant, strict=True):
        reference, predicted = split if answer.strict is None else squeezed_sets
        size = len(reference) + len(predicted)
        unanswered = answer.strict is None and not predicted
        scores.append(2 * len(reference & predicted) / size if size else 0.0 if unanswered else 1.0)
    return np.array(scores)


def _official_facts(answers: Sequence[ScoredAnswer]) -> dict[str, np.ndarray]:
    """Shared, reference and predicted labels of each row, by the source's text."""
    sizes = np.zeros((len(answers), 3))
    unread = np.ones(len(answers))
    for row, answer in enumerate(answers):
        source = json.loads(answer.reference_raw)
        if answer.text is not None and isinstance(source, str):
            reference, predicted = _flare_set(source), _flare_set(answer.text)
            sizes[row] = len(reference & predicted), len(reference), len(predicted)
            unread[row] = 0
    names = ("hits official", "reference official", "predicted official")
    return dict(zip(names, sizes.T, strict=True)) | {"unread_official": unread}


def _official_metric() -> Metric:
    def value(s: Sums) -> np.ndarray:
        f1 = ratio(2 * s["hits official"], s["reference official"] + s["predicted official"], empty=0.0)
        return np.where(s["rows"] > s["missing"], f1, np.nan)

    return Metric(
        "micro_f1_official",
        value,
        direction="higher",
        definition="FLARE 2026",
        unread="unread_official",
    )


def _predicted_set(answer: ScoredAnswer) -> set[str]:
    """FLARE's split of an answer; empty for a missing one, and for the word None, which says that there is no label."""
    return set() if answer.text is None or answer.strict == [] else _flare_set(answer.text)


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
            f1_of((hits, reference, predicted)),
            direction="higher",
            definition="flarebench (after FLARE 2026)",
            primary=True,
        ),
        Metric(
            "micro_precision",
            ratio_of(hits, predicted),
            direction="higher",
            definition="flarebench (after FLARE 2026)",
        ),
        Metric(
            "micro_recall",
            ratio_of(hits, reference),
            direction="higher",
            definition="flarebench (after FLARE 2026)",
        ),
        Metric(
            "sample_f1", mean_of("row_f1", labelled), direction="higher", definition="flarebench (after FLARE 2025)"
        ),
        Metric(
            "sample_precision",
            mean_of("row_precision", labelled),
            direction="higher",
            definition="flarebench (after FLARE 2025)",
        ),
        Metric(
            "sample_recall",
            mean_of("row_recall", labelled),
            direction="higher",
            definition="flarebench (after FLARE 2025)",
        ),
        Metric("exact_sets", mean_of("exact", "rows"), direction="higher", definition="flarebench"),
    ]
