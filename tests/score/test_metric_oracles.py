"""Task metrics equal scikit-learn, pycocotools and a brute-force matcher to 1e-12 on random inputs."""

import json
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask
from sklearn import metrics as sk

from workflow_scripts.core.metrics import Facts, ScoredAnswer
from workflow_scripts.tasks.boxes import matching
from workflow_scripts.tasks.boxes.matching import matched, overlaps
from workflow_scripts.tasks.classification.metrics import facts as classification_facts
from workflow_scripts.tasks.detection.metrics import facts as detection_facts
from workflow_scripts.tasks.instance_detection.metrics import OVERLAPS
from workflow_scripts.tasks.instance_detection.metrics import facts as instance_facts
from workflow_scripts.tasks.multi_label.metrics import facts as multi_label_facts
from workflow_scripts.tasks.number_metrics import number_facts, worst_errors

CLOSE = 1e-12


def answer(reference, predicted, text=None) -> ScoredAnswer:
    """An answer that both readers read as `predicted`; `text` is what the system wrote."""
    outcome = "malformed" if predicted is None else "valid"
    text = str(predicted) if text is None and predicted is not None else text
    return ScoredAnswer("u", "s", "c", outcome, predicted, predicted, reference, text, json.dumps(reference))


def values(facts: Facts) -> dict[str, float]:
    """Each metric of the strict reader, or of no reader, or of the lenient one alone; `name[stratum]` for a stratum."""
    sums = facts.unpacked(facts.packed().sum(axis=0))
    by_name = {}
    with np.errstate(invalid="ignore", over="ignore"):
        for metric in sorted(facts.metrics, key=lambda metric: metric.reading != "lenient"):
            name = metric.name if metric.stratum is None else f"{metric.name}[{metric.stratum}]"
            by_name[name] = float(metric.value(sums))
    return by_name


def close(got: float, expected: float) -> bool:
    return abs(got - expected) <= CLOSE * max(1.0, abs(expected))


letters = st.sampled_from("ABCDE")


@given(st.lists(st.tuples(letters, st.one_of(st.none(), letters)), min_size=1, max_size=60))
def test_classification_equals_scikit_learn(pairs):
    reference = [g for g, _ in pairs]
    predicted = [s if s is not None else "unreadable" for _, s in pairs]
    got = values(classification_facts([answer(g, s) for g, s in pairs]))
    known = sorted(set(reference))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert close(got["balanced_accuracy"], sk.balanced_accuracy_score(reference, predicted))
        assert close(got["accuracy"], sk.accuracy_score(reference, predicted))
        options = {"labels": known, "average": "weighted", "zero_division": 0}
        assert close(got["weighted_f1"], sk.f1_score(reference, predicted, **options))
        assert close(got["weighted_precision"], sk.precision_score(reference, predicted, **options))
        assert close(got["weighted_recall"], sk.recall_score(reference, predicted, **options))
        # Classes that only an answer names have no support: the weighted mean over all labels is the same.
        assert close(got["weighted_f1"], sk.f1_score(reference, predicted, average="weighted", zero_division=0))


label_sets = st.lists(st.sampled_from(["Nodule", "Mass", "Edema", "Fracture"]), unique=True, max_size=4)


@given(st.lists(st.tuples(label_sets, st.one_of(st.none(), label_sets)), min_size=1, max_size=40))
def test_multi_label_equals_scikit_learn(pairs):
    rows = [answer(g, s, None if s is None else "; ".join(s)) for g, s in pairs]
    got = values(multi_label_facts(rows))
    names = ["Nodule", "Mass", "Edema", "Fracture"]

    def table(sets):
        return np.array([[name in chosen for name in names] for chosen in sets])

    reference, predicted = table([g for g, _ in pairs]), table([s or [] for _, s in pairs])
    if reference.any() or predicted.any():
        assert close(got["micro_f1"], sk.f1_score(reference, predicted, average="micro", zero_division=0))
        assert close(got["micro_precision"], sk.precision_score(reference, predicted, average="micro", zero_division=0))
        assert close(got["micro_recall"], sk.recall_score(reference, predicted, average="micro", zero_division=0))
    else:
        assert got["micro_f1"] == 1.0
    labelled = reference.any(axis=1)
    if labelled.any():
        expected = sk.f1_score(reference[labelled], predicted[labelled], average="samples", zero_division=0)
        assert close(got["sample_f1"], expected)
    assert close(got["exact_sets"], sk.accuracy_score(reference, predicted))


def test_both_sides_of_a_label_answer_are_split_at_both_separators():
    reference = ["Endodontic Treatment, Restorative Treatment, and Complications"]
    facts = multi_label_facts([answer(reference, None, "and complications;  ENDODONTIC TREATMENT")])
    got = values(facts)
    assert got["micro_precision"] == 1.0
    assert got["micro_recall"] == pytest.approx(2 / 3)


numbers = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=50))
def test_numbers_equal_scikit_learn(pairs):
    reference, predicted = [g for g, _ in pairs], [s for _, s in pairs]
    got = values(number_facts([answer(g, s, repr(s)) for g, s in pairs]))
    for name in ("mae_official", "mae_2025"):
        assert close(got[name], sk.mean_absolute_error(reference, predicted))
    assert close(got["mse"], sk.mean_squared_error(reference, predicted))
    assert close(got["rmse_2025"], sk.root_mean_squared_error(reference, predicted))
    if np.std(reference) > 1e-3 * max(1.0, np.abs(reference).max()):
        expected = sk.r2_score(reference, predicted)
        assert got["r2"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert close(got["within_5"], np.mean(np.abs(np.subtract(reference, predicted)) <= 5))


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 100)), min_size=3, max_size=30))
def test_r2_equals_scikit_learn_on_counts(pairs):
    reference, predicted = [g for g, _ in pairs], [s for _, s in pairs]
    if len(set(reference)) > 1:
        got = values(number_facts([answer(float(g), float(s)) for g, s in pairs]))
        assert close(got["r2"], sk.r2_score(reference, predicted))


def test_an_unreadable_number_costs_what_the_worst_constant_answer_within_the_reference_range_costs():
    rows = [answer(10.0, 10.0), answer(40.0, None, "many"), answer(5.0, 9e8, "900000000")]
    got = values(number_facts(rows))
    assert got["mae"] == pytest.approx((0 + 40 + 35) / 3)
    assert got["mae_official"] == np.inf
    assert worst_errors(np.array([0.0, 0.0]), np.array(["d", "d"])).tolist() == [1.0, 1.0]


@given(st.lists(st.tuples(numbers, st.one_of(st.none(), numbers)), min_size=1, max_size=30))
def test_the_bounded_error_never_leaves_the_reference_range(pairs):
    got = values(number_facts([answer(g, s, None) for g, s in pairs]))
    reference = [g for g, _ in pairs]
    width = max(0.0, *reference) - min(0.0, *reference)
    assert 0 <= got["mae"] <= (width or 1.0) * (1 + 1e-12)


coordinates = st.integers(0, 60)
sizes = st.integers(1, 40)
boxes = st.lists(
    st.tuples(coordinates, coordinates, sizes, sizes).map(lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]), max_size=6
)


@given(boxes, boxes)
def test_overlaps_equal_pycocotools(reference, predicted):
    got = overlaps(reference, predicted)
    if reference and predicted:
        as_sizes = [
            np.array([[a, b, c - a, d - b] for a, b, c, d in side], dtype=float) for side in (reference, predicted)
        ]
        expected = mask.iou(as_sizes[0], as_sizes[1], [0] * len(predicted))
        np.testing.assert_allclose(got, expected, atol=CLOSE, rtol=0)
    else:
        assert got == [[] for _ in reference]


@given(boxes, boxes)
def test_few_boxes_overlap_as_many_do_to_the_last_bit(reference, predicted):
    few = overlaps(reference, predicted)
    times = matching.FEW // max(1, len(reference) * len(predicted)) + 1
    many = overlaps(reference * times, predicted)
    assert many == few * times


def brute_force(reference, predicted, threshold) -> int:
    """Each reference box in turn takes the free prediction of largest overlap, if that is above the threshold."""
    taken, hits = set(), 0
    for g in reference:
        best, place = 0.0, None
        for j, p in enumerate(predicted):
            width = max(0, min(g[2], p[2]) - max(g[0], p[0]))
            height = max(0, min(g[3], p[3]) - max(g[1], p[1]))
            shared = width * height
            union = (g[2] - g[0]) * (g[3] - g[1]) + (p[2] - p[0]) * (p[3] - p[1]) - shared
            if j not in taken and shared / union > best:
                best, place = shared / union, j
        if place is not None and best > threshold:
            taken.add(place)
            hits += 1
    return hits


@given(st.lists(st.tuples(boxes, st.one_of(st.none(), boxes)), min_size=1, max_size=8))
def test_detection_equals_a_brute_force_matcher(pairs):
    got = values(detection_facts([answer(g, s) for g, s in pairs]))
    for name, turns in (("f1_50", False), ("f1_50_2025", True)):
        hits = sum(brute_force(s or [], g, 0.5) if turns else brute_force(g, s or [], 0.5) for g, s in pairs)
        total = sum(len(g) + len(s or []) for g, s in pairs)
        assert close(got[name], 2 * hits / total if total else 1.0)
    reference_total, predicted_total = sum(len(g) for g, _ in pairs), sum(len(s or []) for _, s in pairs)
    hits = sum(brute_force(g, s or [], 0.5) for g, s in pairs)
    assert close(got["precision_50"], hits / predicted_total if predicted_total else 0.0)
    assert close(got["recall_50"], hits / reference_total if reference_total else 0.0)


identities = st.dictionaries(st.sampled_from(["1", "2", "x"]), boxes.filter(bool), max_size=3)


@settings(max_examples=60)
@given(st.lists(st.tuples(identities, st.one_of(st.none(), identities)), min_size=1, max_size=4))
def test_instance_detection_equals_a_brute_force_matcher_within_identities(pairs):
    got = values(instance_facts([answer(g, s) for g, s in pairs]))
    total = sum(sum(map(len, g.values())) + sum(map(len, (s or {}).values())) for g, s in pairs)
    f1 = []
    for threshold in OVERLAPS:
        hits = sum(
            brute_force((s or {}).get(name, []), boxes, threshold) for g, s in pairs for name, boxes in g.items()
        )
        f1.append(2 * hits / total if total else 1.0)
    assert close(got["f1_30"], f1[0])
    assert close(got["f1_50"], f1[2])
    assert close(got["f1_30_to_70"], float(np.mean(f1)))
    for name in {name for g, _ in pairs for name in g}:
        hits = sum(brute_force((s or {}).get(name, []), g.get(name, []), 0.3) for g, s in pairs)
        listed = sum(len(g.get(name, [])) + len((s or {}).get(name, [])) for g, s in pairs)
        assert close(got[f"f1_30[{name}]"], 2 * hits / listed)


def test_identity_matters():
    box = [0.0, 0.0, 10.0, 10.0]
    assert values(instance_facts([answer({"1": [box]}, {"2": [box]})]))["f1_30"] == 0.0


@given(hnp.arrays(float, st.tuples(st.integers(0, 5), st.integers(0, 5)), elements=st.floats(0, 1)))
def test_a_prediction_is_matched_once(overlap):
    assert 0 <= matched(overlap.tolist(), 0.5) <= min(overlap.shape)


@given(st.lists(st.tuples(boxes.filter(bool), boxes.filter(bool)), min_size=3, max_size=12))
def test_box_coordinates_equal_scikit_learn_over_single_boxes(pairs):
    got = values(detection_facts([answer(g, s) for g, s in pairs]))
    single = [(g[0], s[0]) for g, s in pairs if len(g) == len(s) == 1]
    if len(single) < 2:
        return
    reference, predicted = (
        np.array([[b[0], b[1], b[2] - b[0], b[3] - b[1]] for b in side]) for side in zip(*single, strict=True)
    )
    for place, name in enumerate(("x", "y", "width", "height")):
        assert close(got[f"box_mae[{name}]"], sk.mean_absolute_error(reference[:, place], predicted[:, place]))
        assert close(got[f"box_mse[{name}]"], sk.mean_squared_error(reference[:, place], predicted[:, place]))
        assert close(got[f"box_rmse[{name}]"], sk.root_mean_squared_error(reference[:, place], predicted[:, place]))
        if len(set(reference[:, place])) > 1:
            assert close(got[f"box_r2[{name}]"], sk.r2_score(reference[:, place], predicted[:, place]))
    assert close(got["box_r2"], sk.r2_score(reference.ravel(), predicted.ravel())) or len(set(reference.ravel())) == 1
