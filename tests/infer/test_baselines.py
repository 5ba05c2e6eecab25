"""Baselines answer every row in the expected form, from training rows alone, the same each time."""

import random
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from tests.conftest import make_row
from tests.score.conftest import DECISION, box, one_of_each, row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.rows import ExpectedFormat, Image, Outcome, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import tasks
from workflow_scripts.infer.baseline import answers_of, write_baseline
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.tasks.free_response.baselines import UNDECIDED
from workflow_scripts.tasks.report.baselines import NORMAL_REPORT

SHOWN = (Image("x.png", "x", 100, 80),)


def answer(baseline: str, rows: list[Row], question: str = "?", convention: str | None = None) -> str:
    """The answer to a row of the same task."""
    expected = ExpectedFormat(box_convention=convention)
    asking = row(99, rows[0].task, "", question=question, expected=expected, images=SHOWN)
    return answers_of(baseline, rows[0].task, rows)(asking)


def test_the_usual_answer_is_mode_median_and_median_box():
    assert answer("majority", [row(n, "classification", a) for n, a in enumerate("BAB")]) == "B"
    assert answer("majority", [row(n, "classification", a) for n, a in enumerate("BA")]) == "A"
    assert answer("majority", [row(n, "counting", str(n), number=float(n)) for n in (1, 3, 50)]) == "3"
    percent = ExpectedFormat(percent=True)
    percents = [row(n, "regression", f"{v}%", number=v, expected=percent) for n, v in enumerate((10.5, 20.5, 30.5))]
    assert answer("majority", percents) == "20.5%"
    boxes = [row(n, "detection", "", boxes=(box(v, 0, v + 10, 8),)) for n, v in enumerate((0, 4, 9))]
    assert answer("majority", boxes, convention="xywh") == "[[4, 0, 10, 8]]"
    assert answer("majority", boxes, convention="xyxy") == "[[4, 0, 14, 8]]"
    assert answer("majority", [row(0, "detection", "[]", boxes=())], convention="xyxy") == "[]"


def test_nothing_is_said_where_a_task_has_an_empty_answer():
    assert {entry.task: answer("empty", [entry]) for entry in one_of_each()} == {
        "classification": "B", "multi_label": "None", "detection": "[]", "instance_detection": "{}",
        "counting": "12", "regression": "33.5%", "report": "", "open_vqa": "", "closed_vqa": "no",
        "free_response": "", "entities": "none", "relations": "none", "entailment": "neutral", "similarity": "3.5",
        "span_qa": "unanswerable", "probability": "", "clinical_decision": "",
    }  # fmt: skip


def test_the_constant_is_the_whole_image_and_a_normal_report():
    assert {entry.task: answer("constant", [entry], convention="xyxy") for entry in one_of_each()} == {
        "classification": "B", "multi_label": "Caries; Crown", "detection": "[[0, 0, 100, 80]]",
        "instance_detection": '{"x": [[0, 0, 100, 80]]}', "counting": "12", "regression": "33.5%",
        "report": NORMAL_REPORT, "open_vqa": "left lower lobe", "closed_vqa": "no",
        "free_response": UNDECIDED, "entities": "none", "relations": "none", "entailment": "neutral",
        "similarity": "3.5", "span_qa": "unanswerable", "probability": "0.5", "clinical_decision": DECISION,
    }  # fmt: skip


def test_the_nearest_question_gives_the_answer_and_ties_go_to_the_smallest_uid():
    rows = [
        row(3, "report", "three", question="Describe the heart of this patient."),
        row(2, "report", "two", question="Describe the lungs of this patient."),
        row(1, "report", "one", question="Describe the lungs of this patient."),
    ]
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        assert answer("nearest", rows, question="What about the lungs?") == "one"
        assert answer("nearest", rows, question="Heart?! the heart") == "three"
        assert answer("nearest", rows, question="zzz") == "one"


def test_the_nearest_answer_is_written_in_the_expected_convention():
    xywh = ExpectedFormat(box_convention="xywh")
    boxes = [row(0, "detection", "[[1, 2, 10, 10]]", boxes=(box(1, 2, 11, 12),), expected=xywh)]
    assert answer("nearest", boxes, convention="xywh") == "[[1, 2, 10, 10]]"
    assert answer("nearest", boxes, convention="xyxy") == "[[1, 2, 11, 12]]"
    (instance,) = (entry for entry in one_of_each() if entry.task == "instance_detection")
    assert answer("nearest", [instance], convention="xyxy") == '{"x": [[1, 2, 11, 12]]}'


@pytest.mark.parametrize("baseline", ["majority", "empty", "constant", "nearest"])
def test_every_answer_of_every_baseline_is_read_strictly_but_the_empty_text(baseline, tmp_path):
    rows = tmp_path / "rows"
    write_rows(rows, [replace(entry, images=(Image("x.png", "x", 64, 48),)) for entry in one_of_each()], Row)
    write_baseline(baseline=baseline, train=rows, split=rows, system="base", out=tmp_path / "answers")
    write_outcomes(split=rows, predictions=tmp_path / "answers", system="base", out=tmp_path / "outcomes")
    outcomes = {row.task: row.outcome for row in read_rows(tmp_path / "outcomes", Outcome)}
    texts = ("report", "open_vqa", "free_response", "probability", "clinical_decision")
    empty = dict.fromkeys(texts, "malformed") if baseline == "empty" else {}
    assert outcomes == dict.fromkeys(tasks(), "valid") | empty


def test_rows_of_the_own_subset_come_before_others_of_the_task(root, tmp_path):
    train = [make_row(root, n, subset="large", uid=f"a/{n}") for n in (2, 4, 6, 7)]
    write_rows(tmp_path / "train", [*train, make_row(root, 1, subset="small")], Row)
    asking = [make_row(root, n, subset=name) for n, name in enumerate(("large", "small", "new"))]
    write_rows(tmp_path / "split", asking, Row)
    out = tmp_path / "out"
    write_baseline(baseline="majority", train=tmp_path / "train", split=tmp_path / "split", system="m", out=out)
    assert [row.text for row in read_rows(out, Prediction)] == ["5", "1", "4"]


def test_the_step_answers_every_row_and_refuses_an_unknown_task(split, root, tmp_path):
    command = [sys.executable, "-m", "workflow_scripts.infer.baseline", "--train", split, "--split", split]
    command += ["--baseline", "nearest", "--system", "n", "--out", tmp_path / "a"]
    subprocess.run(list(map(str, command)), check=True)
    assert Counter(row.finish_reason for row in read_rows(tmp_path / "a", Prediction)) == {"baseline": 8}
    other = tmp_path / "other.parquet"
    write_rows(other, [make_row(root, 1, task="report")], Row)
    with pytest.raises(Refused, match="has no report row to answer row/1 from"):
        write_baseline(baseline="majority", train=split, split=other, system="m", out=tmp_path / "b.parquet")
