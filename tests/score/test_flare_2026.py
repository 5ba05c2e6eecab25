"""Metrics of FLARE 2026's definition equal the challenge's evaluation on every vector, its faults included.

The vectors hold references and answers of our own with the results that the evaluation gave for them.
"""

import json
import math
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from workflow_scripts.core.metrics import Metric, ScoredAnswer
from workflow_scripts.core.tasks import load_part
from workflow_scripts.tasks.detection.flare_2026 import LONGEST, Counts, count_boxes

VECTORS = Path(__file__).parent / "vectors"
DOCUMENTS = {
    file.stem.removeprefix("flare26_"): json.loads(file.read_text(encoding="utf-8"))
    for file in sorted(VECTORS.glob("flare26_*.json"))
}
TYPED = {"classification": "A", "multi_label": ["a"], "detection": [[0.0, 0.0, 1.0, 1.0]]}
"""A typed reference of each task; FLARE's metrics look at the source's value alone."""


def scored(task: str, row: dict) -> ScoredAnswer:
    raw = json.dumps(row["reference"])
    return ScoredAnswer("u", "s", "c", "valid", None, None, TYPED.get(task, 1.0), row.get("answer"), raw)


def official(task: str, rows: list[dict]) -> tuple[float, Metric]:
    """The value of a task's metric of FLARE 2026's definition over rows of one subset."""
    facts = load_part(task, "metrics").facts([scored(task, row) for row in rows])
    (metric,) = [metric for metric in facts.metrics if metric.definition == "FLARE 2026"]
    with np.errstate(invalid="ignore", over="ignore"):
        return float(metric.value(facts.unpacked(facts.packed().sum(axis=0)))), metric


@pytest.mark.parametrize(
    ("task", "dataset"),
    [
        pytest.param(task, dataset, id=f"{task}-{dataset['dataset']}")
        for task, document in DOCUMENTS.items()
        for dataset in document["datasets"]
    ],
)
def test_the_official_metric_is_the_evaluations_to_the_last_row(task, dataset):
    value, metric = official(task, dataset["rows"])
    assert metric.name.endswith("_official") and not metric.primary
    match dataset["expected"]:
        case None:
            assert math.isnan(value)
        case "infinite":
            assert value == math.inf
        case expected:
            assert value == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_there_are_vectors_of_five_tasks_with_hundreds_of_answers_in_one_form():
    schema = json.loads((VECTORS / "flare26.schema.json").read_text(encoding="utf-8"))
    for task, document in DOCUMENTS.items():
        jsonschema.validate(document, schema)
        assert document["task"] == task
        assert document["answers"] == sum("answer" in row for entry in document["datasets"] for row in entry["rows"])
    assert set(DOCUMENTS) == {"classification", "multi_label", "detection", "counting", "regression"}
    assert sum(document["answers"] for document in DOCUMENTS.values()) >= 450


def test_no_metric_bears_flares_name_that_no_vector_holds_to_it():
    named = {
        (metric.name, metric.definition)
        for task, reference in {"instance_detection": {"1": [[0.0, 0.0, 1.0, 1.0]]}, **dict.fromkeys(DOCUMENTS)}.items()
        for metric in load_part(task, "metrics")
        .facts([ScoredAnswer("u", "s", "c", "valid", None, None, reference or TYPED.get(task, 1.0), "x")])
        .metrics
    }
    assert {name for name, definition in named if definition == "FLARE 2026"} == {
        "balanced_accuracy_official",
        "micro_f1_official",
        "f1_50_official",
        "mae_official",
    }
    definitions = {definition for _, definition in named}
    assert definitions == {
        "FLARE 2026",
        "IIT Delhi",
        "flarebench",
        "flarebench (after FLARE 2025)",
        "flarebench (after FLARE 2026)",
    }


@pytest.mark.parametrize(
    ("task", "answer"),
    [("classification", "A"), ("multi_label", "a"), ("detection", "[[0, 0, 1, 1]]"), ("counting", "1")],
)
def test_the_primary_metric_equals_the_official_one_on_well_formed_answers(task, answer):
    """Where every row is answered in the expected form, right or wrong."""
    wrong = {"classification": "B", "multi_label": "b", "detection": "[[5, 5, 9, 9]]", "counting": "0"}[task]
    reader = {"classification": str, "multi_label": lambda text: [text]}.get(task, json.loads)
    rows = [
        ScoredAnswer("u", "s", "c", "valid", reader(text), reader(text), reader(answer), text, json.dumps(answer))
        for text in (answer, answer, wrong)
    ]
    facts = load_part(task, "metrics").facts(rows)
    sums = facts.unpacked(facts.packed().sum(axis=0))
    values = [
        float(metric.value(sums)) for metric in facts.metrics if metric.primary or metric.definition == "FLARE 2026"
    ]
    assert len(values) == 2 and values[0] == pytest.approx(values[1], rel=1e-12)


def test_a_long_answer_is_left_out_and_takes_no_time():
    for text in ("[" * LONGEST + "1", "[1]" + "," * 10 * LONGEST, "[" + "1," * (5 * LONGEST) + "]", "-" * LONGEST):
        assert count_boxes("[[0, 0, 1, 1]]", text) is None
    assert count_boxes("[[0, 0, 1, 1]]", "[[0, 0, 1, 1]]") == Counts(1, 0, 0)
