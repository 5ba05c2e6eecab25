"""Macro F1 over label sets equals scikit-learn's: over all labels, MedGemma's five, and ChestX-ray14's three."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from workflow_scripts.core.metrics import ScoredAnswer
from workflow_scripts.tasks.multi_label.label_sets import FIVE, THREE
from workflow_scripts.tasks.multi_label.metrics import facts

OTHER = ("Hernia", "Support Devices")
ALL = [*FIVE, *THREE, *OTHER]


def answers(sets: list[tuple[list[str], list[str] | None]]) -> list[ScoredAnswer]:
    """Reference and predicted labels; None where the answer could not be read."""
    scored = []
    for n, (reference, predicted) in enumerate(sets):
        text = "I cannot tell" if predicted is None else "; ".join(predicted) or "None"
        state = "malformed" if predicted is None else "valid"
        raw = json.dumps("; ".join(reference))
        scored.append(ScoredAnswer(f"u{n}", "s", f"c{n}", state, predicted, predicted, reference, text, raw))
    return scored


def values(sets, reading="strict") -> dict[str, float]:
    """Macro F1 by the metric's name."""
    scored = facts(answers(sets))
    sums = scored.unpacked(scored.packed().sum(axis=0))
    return {m.name: float(m.value(sums)) for m in scored.metrics if "macro_f1" in m.name and m.reading == reading}


def drawn(labels, rows=300, seed=0) -> list[tuple[list[str], list[str]]]:
    rng = np.random.default_rng(seed)
    return [tuple([label for label in labels if rng.random() < 0.3] for _ in range(2)) for _ in range(rows)]


def sklearns(sets, labels) -> float:
    truth, named = ([[label in row[side] for label in labels] for row in sets] for side in (0, 1))
    return f1_score(np.array(truth, dtype=int), np.array(named, dtype=int), average="macro", zero_division=0)


@pytest.mark.parametrize("reading", ["strict", "lenient"])
@pytest.mark.parametrize("seed", range(5))
def test_each_macro_f1_is_scikit_learns(seed, reading):
    sets = drawn(ALL, seed=seed)
    got = values(sets, reading)
    assert got == pytest.approx(
        {
            "macro_f1": sklearns(sets, ALL),
            "macro_f1_mimic_cxr_chexpert": sklearns(sets, FIVE),
            "macro_f1_chestxray14": sklearns(sets, THREE),
        }
    )


def test_conditions_are_found_under_the_names_of_other_datasets():
    names = {"edema": "Pulmonary Edema", "pleural effusion": "Effusion", "lung opacity": "Airspace opacity"}
    sets = drawn(ALL, seed=9)
    renamed = [tuple([names.get(label, label.title()) for label in side] for side in row) for row in sets]
    assert values(renamed) == pytest.approx(values(sets))


def test_a_set_of_conditions_that_no_reference_completes_has_no_column():
    assert set(values(drawn(OTHER))) == {"macro_f1"}
    assert "macro_f1_mimic_cxr_chexpert" not in values(drawn(FIVE[:4]))
    assert "macro_f1_chestxray14" in values(drawn(THREE))


def test_a_subset_that_lacks_a_condition_has_no_value_of_the_five():
    sets = drawn(FIVE, rows=50)
    scored = facts(answers([*sets, (["Atelectasis"], ["Atelectasis"])]))
    of_last = scored.unpacked(scored.packed()[-1])
    by_name = {metric.name: float(metric.value(of_last)) for metric in scored.metrics if metric.reading == "strict"}
    assert np.isnan(by_name["macro_f1_mimic_cxr_chexpert"]) and by_name["macro_f1"] == 1.0


def test_an_unreadable_answer_names_nothing():
    assert values([(["Hernia"], None), (["Hernia"], ["Hernia"])], "lenient")["macro_f1"] == pytest.approx(2 / 3)


def test_long_lists_of_labels_have_no_macro_f1():
    labels = [f"label {n}" for n in range(201)]
    assert values([([label], [label]) for label in labels]) == {}
    assert values([([label], [label]) for label in labels[:200]]) == {"macro_f1": 1.0}
