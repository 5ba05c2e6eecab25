"""Base lines answer every row in the asked form, from training rows alone, the same each time."""

import json
import random
import subprocess
import sys
from collections import Counter

import pytest

from tests.conftest import make_row
from tests.score.conftest import box, one_of_each, row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.tables import OUTCOMES, PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.core.tasks import TASKS
from workflow_scripts.infer.baseline import answer_by_baseline
from workflow_scripts.score.outcomes import read_outcomes
from workflow_scripts.tasks.baselines import NORMAL_REPORT, constant, empty, majority
from workflow_scripts.tasks.nearest import nearest

ASKED = {"convention": None, "question": "?", "images": [{"width": 100, "height": 80}]}


def said(rule, rows: list[dict], **asked) -> str:
    return rule(rows)(ASKED | asked)


def test_the_usual_answer_is_mode_median_and_median_box():
    assert said(majority, [{"task": "classification", "answer": a} for a in "BAB"]) == "B"
    assert said(majority, [{"task": "classification", "answer": a} for a in "BA"]) == "A"
    assert said(majority, [{"task": "counting", "number": n, "answer": str(n)} for n in (1, 3, 50)]) == "3"
    percents = [{"task": "regression", "number": n, "answer": f"{n}%"} for n in (10.5, 20.5, 30.5)]
    assert said(majority, percents) == "20.5%"
    boxes = [row(n, "detection", "", boxes=[box(v, 0, v + 10, 8)]) for n, v in enumerate((0, 4, 9))]
    assert said(majority, boxes, convention="xywh") == "[[4, 0, 10, 8]]"
    assert said(majority, boxes, convention="xyxy") == "[[4, 0, 14, 8]]"
    assert said(majority, [row(0, "detection", "[]", boxes=[])], convention="xyxy") == "[]"


def test_nothing_is_said_where_a_task_has_an_empty_answer():
    kinds = {entry["task"]: [entry] for entry in one_of_each()}
    assert {task: said(empty, rows) for task, rows in kinds.items()} == {
        "classification": "B", "multi_label": "None", "detection": "[]", "instance_detection": "{}",
        "counting": "12", "regression": "33.5%", "report": "",
    }  # fmt: skip


def test_the_constant_is_the_whole_picture_and_a_normal_report():
    kinds = {entry["task"]: [entry] for entry in one_of_each()}
    assert {task: said(constant, rows, convention="xyxy") for task, rows in kinds.items()} == {
        "classification": "B", "multi_label": "Caries; Crown", "detection": "[[0, 0, 100, 80]]",
        "instance_detection": '{"x": [[0, 0, 100, 80]]}', "counting": "12", "regression": "33.5%",
        "report": NORMAL_REPORT,
    }  # fmt: skip


def test_the_nearest_question_gives_the_answer_and_ties_go_to_the_smallest_uid():
    rows = [
        row(3, "report", "three", question="Describe the heart of this patient."),
        row(2, "report", "two", question="Describe the lungs of this patient."),
        row(1, "report", "one", question="Describe the lungs of this patient."),
    ]
    for _ in range(5):
        random.Random(_).shuffle(rows)
        assert said(nearest, rows, question="What about the lungs?") == "one"
        assert said(nearest, rows, question="Heart?! the heart") == "three"
        assert said(nearest, rows, question="zzz") == "one"


def test_the_nearest_answer_is_written_in_the_asked_convention():
    boxes = [row(0, "detection", "[[1, 2, 10, 10]]", boxes=[box(1, 2, 11, 12)], convention="xywh")]
    assert said(nearest, boxes, convention="xywh") == "[[1, 2, 10, 10]]"
    assert said(nearest, boxes, convention="xyxy") == "[[1, 2, 11, 12]]"
    (instance,) = (entry for entry in one_of_each() if entry["task"] == "instance_detection")
    assert said(nearest, [instance], convention="xyxy") == '{"x": [[1, 2, 11, 12]]}'


@pytest.mark.parametrize("rule", ["majority", "empty", "constant", "nearest"])
def test_every_answer_of_every_rule_is_read_strictly_but_the_empty_report(rule, tmp_path):
    rows = [
        entry | {"images": [{"path": "x.png", "sha256": "x", "width": 64, "height": 48}]} for entry in one_of_each()
    ]
    write_table(tmp_path / "rows", rows, ROWS)
    answer_by_baseline(rule, tmp_path / "rows", tmp_path / "rows", "line", tmp_path / "answers")
    read_outcomes(tmp_path / "rows", tmp_path / "answers", "line", tmp_path / "outcomes")
    outcomes = {r["task"]: r["outcome"] for r in read_table(tmp_path / "outcomes", OUTCOMES).to_pylist()}
    assert outcomes == dict.fromkeys(TASKS, "valid") | ({"report": "malformed"} if rule == "empty" else {})


def test_rows_of_the_own_data_set_come_before_others_of_the_task(root, tmp_path):
    train = [make_row(root, n, dataset="large", uid=f"a/{n}") for n in (2, 4, 6, 7)]
    write_table(tmp_path / "train", [*train, make_row(root, 1, dataset="small")], ROWS)
    asked = [make_row(root, n, dataset=name) for n, name in enumerate(("large", "small", "new"))]
    write_table(tmp_path / "split", asked, ROWS)
    answer_by_baseline("majority", tmp_path / "train", tmp_path / "split", "m", tmp_path / "out")
    assert [r["text"] for r in read_table(tmp_path / "out", PREDICTIONS).to_pylist()] == ["5", "1", "4"]


def test_the_step_answers_every_row_and_refuses_an_unknown_task(split, root, tmp_path):
    command = [sys.executable, "-m", "workflow_scripts.infer.baseline", "--train", split, "--split", split]
    command += ["--spec", json.dumps({"baseline": "nearest", "train": "t"}), "--system", "n", "--out", tmp_path / "a"]
    subprocess.run(list(map(str, command)), check=True)
    assert Counter(r["finish"] for r in read_table(tmp_path / "a", PREDICTIONS).to_pylist()) == {"rule": 8}
    write_table(tmp_path / "other.parquet", [make_row(root, 1, task="report")], ROWS)
    with pytest.raises(Refused, match="has no report row to answer row/1 from"):
        answer_by_baseline("majority", split, tmp_path / "other.parquet", "majority", tmp_path / "b.parquet")
