"""What the figures draw, computed anew: by scikit-learn, by pycocotools, by hand."""

import json
import re
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from sklearn.metrics import confusion_matrix, f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from tests.report.figure_tables import SHOWN, SYSTEMS, box, near, row, write_split
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import (
    Agreement,
    Comparison,
    ExpectedFormat,
    JudgedFinding,
    JudgedPair,
    MetricValue,
    Option,
    Outcome,
    Row,
)
from workflow_scripts.core.tables import read_rows
from workflow_scripts.report.palette import system_colours
from workflow_scripts.report.plots.answers import answers_of, kind_of
from workflow_scripts.report.plots.boxes import THRESHOLDS, box_pairs, curve_of
from workflow_scripts.report.plots.classes import MOST_CLASSES, OTHER, class_of, confusion, label_f1
from workflow_scripts.report.plots.cost import cost_plot, costs_of, time_of
from workflow_scripts.report.plots.findings import fates_of, judged_reports
from workflow_scripts.report.plots.numbers import CELLS, MOST_MARKS, marks_of, plane_of, scatter_plots
from workflow_scripts.report.plots.overview import forest_plots, turned
from workflow_scripts.report.plots.render import svg_of
from workflow_scripts.report.plots.reports import agreement_plots, variety_of

COLOURS = system_colours(["base", "tuned", "third"])


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Tables of a split with every task."""
    return write_split(tmp_path_factory.mktemp("results"), seed=11)


@pytest.fixture(scope="module")
def answers(tables):
    """Its answers by task and subset."""
    outcomes = [entry for path in tables.outcomes for entry in read_rows(path, Outcome)]
    return answers_of(read_rows(tables.split, Row), outcomes, SHOWN)


def test_the_kind_of_answer_follows_from_the_columns_of_the_rows(answers):
    kinds = {group.task: group.kind for group in answers}
    assert kinds == {
        "classification": "class",
        "multi_label": "labels",
        "detection": "boxes",
        "instance_detection": "instances",
        "counting": "number",
        "regression": "number",
        "report": "text",
    }


def test_rows_without_any_box_or_label_keep_the_kind_of_their_columns():
    empty = [row("detection", "boxes", 0, "[]", boxes=())]
    assert kind_of(empty, [[]]) == "boxes"
    assert kind_of([row("multi_label", "labels", 0, "None", labels=())], [[]]) == "labels"


def test_a_confusion_is_scikit_learns():
    rng = np.random.default_rng(0)
    names = ["Alpha", "beta", "gamma", "delta"]
    pairs = [(names[a], names[b]) for a, b in rng.integers(0, 4, (300, 2))]
    ours = confusion([(one, two.upper()) for one, two in pairs])
    theirs = confusion_matrix(*zip(*pairs, strict=True), labels=ours.classes)
    assert (ours.counts[:, :-1] == theirs).all() and not ours.counts[:, -1].any()


def test_rare_classes_and_strange_answers_are_one_class_and_no_row_is_lost():
    pairs = [(f"c{place % 20}", f"c{place % 7}") for place in range(200)] + [("c0", None), ("c0", "never seen")]
    ours = confusion(pairs)
    assert len(ours.classes) == MOST_CLASSES + 1 and ours.classes[-1] == OTHER
    assert ours.counts.sum() == len(pairs) and ours.counts[0, -1] == 1
    rest = [reference for reference, _ in pairs if reference not in ours.classes]
    assert ours.counts[-1].sum() == len(rest)


def test_collected_classes_are_right_row_by_row_and_not_because_they_are_collected():
    pairs = [(f"c{place}", f"c{place}") for place in range(MOST_CLASSES)] * 2
    pairs += [("rare", "rare"), ("scarce", "rare"), ("scarce", "invented")]
    ours = confusion(pairs)
    assert ours.own == MOST_CLASSES and ours.counts[-1, MOST_CLASSES] == 3
    assert ours.right == 2 * MOST_CLASSES + 1


def test_a_class_of_the_name_of_the_collected_ones_stands_for_itself():
    ours = confusion([(OTHER, OTHER), ("normal", OTHER), ("normal", "invented"), ("normal", None)])
    assert sorted(ours.classes[:2]) == ["normal", OTHER] and ours.classes[2] not in ("normal", OTHER)
    assert ours.right == 1 and ours.counts[:, -1].sum() == 1


def test_a_letter_stands_for_the_option_of_its_own_question():
    lettered = row("classification", "x", 0, "A", expected=ExpectedFormat(options=(Option("A", "Naevus"),)))
    assert class_of(lettered, " a ") == "Naevus" and class_of(lettered, "B") == "B" and class_of(lettered, None) is None


def test_f1_of_each_label_is_scikit_learns():
    rng = np.random.default_rng(1)
    names = [f"label {place}" for place in range(8)]
    sets = [[{name for name in names if rng.random() < share} for share in (0.3, 0.4)] for _ in range(120)]
    ours = label_f1([(one, two) for one, two in sets])
    binary = MultiLabelBinarizer(classes=names)
    binary.fit([names])
    sides = (binary.transform([pair[side] for pair in sets]) for side in (0, 1))
    theirs = f1_score(*sides, average=None, zero_division=0)
    assert set(ours) == set(names)
    assert [ours[name][0] for name in names] == pytest.approx(list(theirs))
    assert ours[names[0]][1] == sum(names[0] in one for one, _ in sets)


def coco_matches(truth: list[list[list[float]]], guesses: list[list[list[float]]]) -> np.ndarray:
    """Matched boxes at each threshold as COCO's evaluation matches them, the guesses taking turns."""

    def entries(rows: list[list[list[float]]], **more) -> list[dict]:
        return [
            {
                "id": place + 1,
                "image_id": image,
                "category_id": 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
                **more,
            }
            for place, (image, (x1, y1, x2, y2)) in enumerate(
                (image, corners) for image, boxes in enumerate(rows) for corners in boxes
            )
        ]

    with redirect_stdout(StringIO()):
        reference = COCO()
        reference.dataset = {
            "images": [{"id": image} for image in range(len(truth))],
            "categories": [{"id": 1}],
            "annotations": entries(truth),
            "info": {},
        }
        reference.createIndex()
        evaluation = COCOeval(reference, reference.loadRes(entries(guesses, score=1.0)), "bbox")
        evaluation.params.iouThrs = np.array(THRESHOLDS)
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, 1e10]], ["all"]
        evaluation.evaluate()
    return sum((of["dtMatches"] > 0).sum(axis=1) for of in evaluation.evalImgs if of is not None)


@pytest.mark.parametrize("turns", ["reference", "predicted"])
def test_matches_by_overlap_are_those_of_cocos_evaluation(turns):
    rng = np.random.default_rng(2)
    # Of whole pixels an overlap may be exactly a threshold: COCO matches there, FLARE only above.
    truth = [[[value + 0.37 * rng.random() for value in box(rng)] for _ in range(6)] for _ in range(40)]
    guesses = [[near(rng, corners, 9) for corners in boxes] + [box(rng)] for boxes in truth]
    guesses = [[[x1, y1, max(x2, x1 + 1), max(y2, y1 + 1)] for x1, y1, x2, y2 in boxes] for boxes in guesses]
    ours = curve_of(zip(truth, guesses, strict=True), turns=turns)
    theirs = coco_matches(guesses, truth) if turns == "reference" else coco_matches(truth, guesses)
    assert list(ours.hits) == list(theirs) and ours.hits[-1] < ours.hits[0]
    assert (ours.reference, ours.predicted) == (240, 280)


@pytest.mark.parametrize(
    ("task", "turns", "threshold", "name"),
    [
        ("detection", "reference", 0.5, "50"),
        ("instance_detection", "predicted", 0.3, "30"),
        ("instance_detection", "predicted", 0.5, "50"),
    ],
)
def test_precision_and_recall_by_overlap_agree_with_the_table_of_metrics(tables, answers, task, turns, threshold, name):
    values = {
        (value.metric, value.system): value.value
        for value in read_rows(tables.metrics, MetricValue)
        if value.task == task and value.subset == "pooled" and value.reading == "strict" and value.stratum is None
    }
    (group,) = [group for group in answers if group.task == task]
    for system in SHOWN:
        curve = curve_of(box_pairs(group, system), turns=turns)
        place = THRESHOLDS.index(threshold)
        assert curve.precision[place] == pytest.approx(values[f"precision_{name}", system])
        assert curve.recall[place] == pytest.approx(values[f"recall_{name}", system])


@pytest.mark.parametrize("rows", [400, 20_000])
def test_marks_hold_every_answer_and_lie_where_it_lies(rows):
    rng = np.random.default_rng(3)
    references = rng.uniform(0, 100, rows)
    predicted = references + rng.normal(0, 20, rows)
    plane = plane_of(list(references))
    marks = marks_of(list(zip(references, predicted, strict=True)), plane)
    areas = sum(mark.area for mark in marks)
    assert len(marks) <= MOST_MARKS and sum(mark.outside for mark in marks) > 0
    if rows == 400:
        assert areas / min(mark.area for mark in marks) == pytest.approx(rows)
    step = (plane.high - plane.low) / (CELLS[0] if rows == 400 else CELLS[-1])
    assert min(abs(mark.reference - references[0]) for mark in marks) <= step / 2 + 1e-9


def test_an_absurd_answer_lies_at_the_edge_and_one_that_is_no_number_is_not_read(answers):
    (group,) = [group for group in answers if group.task == "counting"]
    values = [1e308, float("inf"), float("-inf"), float("nan"), None, "7"] + [5.0] * (len(group.rows) - 6)
    (drawing,) = scatter_plots([replace(group, strict={"base": values})], COLOURS)
    assert "3 not read" in drawing.description and "3 beyond the axis" in drawing.description
    assert svg_of(drawing).count("<path") > 3


def test_axes_are_logarithmic_where_the_references_span_orders_of_magnitude():
    assert plane_of([1, 2, 3, 40, 500, 6000]).logarithmic
    assert not plane_of([10, 20, 30]).logarithmic
    assert not plane_of([-5, 2, 900]).logarithmic
    plane = plane_of([0.0, 0.0])
    assert plane.place(plane.value(0.25)) == pytest.approx(0.25) and plane.high > plane.low
    plane = plane_of([1, 2, 3, 40, 500, 6000])
    assert [plane.place(plane.value(share)) for share in (0, 0.3, 1)] == pytest.approx([0, 0.3, 1])


def comparison(task, metric, direction, difference, p_holm, **changes) -> Comparison:
    fields = {"system_a": "base", "system_b": "tuned", "low": difference - 0.1, "high": difference + 0.1} | changes
    return Comparison(
        task=task, subset="macro", metric=metric, judge=None, direction=direction, difference=difference, p=p_holm,
        p_holm=p_holm, rows=40, clusters=20, **fields,
    )  # fmt: skip


def test_a_forest_plot_says_where_tuning_helped_harmed_and_is_beyond_chance():
    rows = [
        comparison("classification", "balanced_accuracy", "higher", 0.3, 0.01),
        comparison("counting", "mae", "lower", 4.0, 0.2),
        comparison("regression", "mae", "lower", -4.0, None),
        comparison("detection", "f1_50", "higher", 0.05, 0.9),
    ]
    (drawing,) = forest_plots(rows, [], [("base", "tuned")], COLOURS)
    assert "better side of zero in 2 (classification and regression)" in drawing.description
    assert "on the worse in 1 (counting)" in drawing.description
    assert "Beyond chance after Holm's correction: classification." in drawing.description
    assert "+0.30 [0.20, 0.40]" in drawing.description and "p = 0.010 *" in drawing.description
    spec = json.dumps(drawing.chart.to_dict())
    assert spec.count('"reverse": true') >= 2 and "(reversed axis)" in spec


def test_a_comparison_the_other_way_round_is_turned_with_its_interval():
    row_ = comparison("counting", "mae", "lower", -4.0, 0.2, low=-5.0, high=-1.0, system_a="tuned", system_b="base")
    turned_ = turned(row_, "base")
    assert (turned_.difference, turned_.low, turned_.high, turned_.system_a) == (4.0, 1.0, 5.0, "base")
    (drawing,) = forest_plots([row_], [], [("base", "tuned")], COLOURS)
    assert "+4.00 [1.00, 5.00]" in drawing.description


def test_a_pair_that_was_not_compared_has_no_forest_plot():
    assert forest_plots([comparison("counting", "mae", "lower", 1, 1)], [], [("base", "third")], COLOURS) == []


def test_agreement_is_of_the_second_system_minus_the_first():
    rows = [
        Agreement("tuned", "base", "chrf", None, "green", "lab", -0.2, 0.1, -0.5, 30, True),
        Agreement("base", "third", "chrf", None, "green", "lab", 0.9, 0.9, 1.0, 30, False),
    ]
    (drawing,) = agreement_plots(rows, [("base", "tuned")], COLOURS)
    assert "chrF +0.20; GREEN (lab) −0.10" in drawing.description
    assert "1 of 1 pairs of metrics disagree" in drawing.description and "n = 30 rows" in drawing.description


def test_small_differences_of_metrics_have_an_axis_whose_labels_differ():
    row = Agreement("base", "tuned", "chrf", None, "green", "lab", 0.002, -0.008, -0.5, 30, True)
    (drawing,) = agreement_plots([row], [("base", "tuned")], COLOURS)
    axis = svg_of(drawing).partition(">mean difference")[0]
    labels = re.findall(r">([+\u2212]?[0-9.]+)</text>", axis)
    assert len(labels) > 2 and len(set(labels)) == len(labels)


def test_variety_counts_distinct_reports_and_the_most_frequent_one():
    variety = variety_of(["Normal.", "Normal. ", "Large effusion on the left.", ""])
    assert (variety.rows, variety.distinct, variety.commonest, variety.report) == (4, 0.75, 0.5, "Normal.")
    assert variety.words == [1, 1, 5, 0]


def judged_pair(key: str, **changes) -> JudgedPair:
    fields = {"judge": "lab", "backend": "openai", "metrics": ("crimson",), "status": "valid", "reply": "{}"} | changes
    return JudgedPair(pair=key, context="{}", reference="x", hypothesis="y", reason=None, **fields)


def finding(key: str, name: str, fate: str, grade: str = "urgent", side: str = "reference") -> JudgedFinding:
    return JudgedFinding(key, "lab", side, name, "x", grade, fate, (), ())


def test_equal_reports_count_as_often_as_they_occur_and_systems_share_their_judgements():
    findings = [finding("k", "R1", "missing"), finding("k", "P1", "false", "odd", "predicted")] * 2
    findings += [finding("k", "R2", "matched"), finding("k", "P2", "matched", side="predicted")]
    pairs = [judged_pair("k"), judged_pair("lost", status="invalid")]
    one, two = judged_reports({"a": ["k", "k", "lost"], "b": ["k"]}, pairs, findings)
    assert (one.rows, one.judged, two.rows, two.judged) == (3, 2, 1, 1)
    urgent = {("urgent", fate): 2 for fate in ("missing", "matched")}
    assert fates_of(one.findings) == Counter(urgent | {("other", "false"): 2})
    assert sum(fates_of(two.findings).values()) == 3


def test_a_judge_that_never_replied_validly_has_no_findings():
    (only,) = judged_reports({"a": ["k"]}, [judged_pair("k", status="invalid")], [])
    assert (only.judged, only.findings, only.green) == (0, [], [])


BENCHMARK = "s\th:m:s\tmax_rss\tcpu_time\n"


def test_cost_comes_from_benchmarks_with_gpus_and_rows_a_second(tmp_path):
    def write(path: str, seconds: float, cpu: str) -> None:
        file = tmp_path / "benchmarks" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{BENCHMARK}{seconds}\t0:00:01\t1.0\t{cpu}\n")

    write("train_tune/tuned.tsv", 120, "60")
    write("infer_answer/val.base+tuned.1-of-2.tsv", 30, "90")
    write("infer_answer/val.base+tuned.2-of-2.tsv", 30, "NA")
    write("infer_answer/other.base.1-of-1.tsv", 999, "999")
    write("infer_baseline/val.majority.tsv", 0, "NA")
    configuration = {
        "systems": {
            "base": {"model": "m", "recipe": None},
            "tuned": {"model": "m", "recipe": "r"},
            "majority": {"baseline": "majority"},
        },
        "models": {"m": {"gpus": 2}},
        "judges": {},
    }
    costs = {(cost.step, cost.owner): cost for cost in costs_of(tmp_path, configuration, "val", 300)}
    assert set(costs) == {("training", "tuned"), ("answers", "base+tuned"), ("answers", "majority")}
    assert (costs["training", "tuned"].cpu_minutes, costs["training", "tuned"].gpu_minutes) == (1, 4)
    together = costs["answers", "base+tuned"]
    assert (together.cpu_minutes, together.gpu_minutes, together.rows_per_second) == (2, 1, 10)
    assert costs["answers", "majority"].rows_per_second is None
    (drawing,) = cost_plot(list(costs.values()), COLOURS)
    assert "GPU" in drawing.description and "from the benchmark files" in drawing.caption.lower()
    assert cost_plot([], COLOURS) == []


def test_a_file_that_is_no_benchmark_is_named(tmp_path):
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n")
    with pytest.raises(BadFile, match=r"x\.tsv is not a benchmark"):
        time_of([tmp_path / "x.tsv"])


def test_systems_beyond_those_shown_are_left_out(answers):
    assert all(set(group.strict) == set(SHOWN) and SYSTEMS[3] not in group.strict for group in answers)
