"""Macro F1: each label is a binary decision of every row, and the F1 of the labels are averaged.

MedGemma's report (arXiv 2507.05201, 3.3) averages over five conditions of MIMIC-CXR and CheXpert and over three of
ChestX-ray14; its code is not published, and it asks for each condition by a question of its own.
"""

from collections.abc import Callable, Sequence

import numpy as np

from workflow_scripts.core.metrics import Sums, ratio

FIVE = ("atelectasis", "cardiomegaly", "consolidation", "edema", "pleural effusion")
"""Conditions of MIMIC-CXR and CheXpert."""
THREE = ("lung opacity", "pneumothorax", "fracture")
"""Conditions of ChestX-ray14, in the labels of Majkowska et al. 2020."""
_SAME = {
    "pulmonary edema": "edema",
    "oedema": "edema",
    "pulmonary oedema": "edema",
    "effusion": "pleural effusion",
    "airspace opacity": "lung opacity",
    "opacity": "lung opacity",
}
"""Other names that datasets give to these conditions."""
MOST_LABELS = 200
"""A set of more labels is no list of conditions: each would be found in a row or two."""


def conditions(labels: set[str]) -> set[str]:
    """Labels in lower case under the names that `FIVE` and `THREE` have."""
    return {_SAME.get(label, label) for label in labels}


def decisions(sets: Sequence[tuple[set[str], set[str]]], labels: Sequence[str]) -> tuple[np.ndarray, ...]:
    """Whether each row's reference, prediction and both hold each label: three times [rows × labels]."""
    reference, predicted = (
        np.array([[label in row[side] for label in labels] for row in sets], dtype=float).reshape(-1, len(labels))
        for side in (0, 1)
    )
    return reference, predicted, reference * predicted


def mean_f1(hits: str, reference: str, predicted: str, *, every: bool) -> Callable[[Sums], np.ndarray]:
    """The mean over labels of 2·hits / (rows that have it + answers that name it).

    Args:
        hits, reference, predicted: names of the facts, [labels] each.
        every: there is no value unless some row has each label; else the mean is over those that some row has.
    """

    def value(s: Sums) -> np.ndarray:
        present = s[reference] > 0
        f1 = np.where(present, ratio(2 * s[hits], s[reference] + s[predicted], empty=0.0), 0.0)
        mean = ratio(f1.sum(axis=-1), present.sum(axis=-1))
        return np.where(present.all(axis=-1), mean, np.nan) if every else mean

    return value
