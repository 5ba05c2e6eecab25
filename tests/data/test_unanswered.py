"""Rows without an answer can be asked and handed in; they are never trained on, scored, or in another row's way."""

import json

import pytest

from tests.data.roots import OPTIONS, convert_rows, converted, png, pngs, row, write_subset
from tests.data.test_convert import assert_conserved
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.datasets import Split
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.config.workflow import Inference
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import write_rows
from workflow_scripts.core.tasks import load_part
from workflow_scripts.data.auditing.facts import audit_findings, label_counts, summarise
from workflow_scripts.data.split import EmptySplit, split_rows
from workflow_scripts.infer.export import export
from workflow_scripts.infer.questions.requests import requests_of
from workflow_scripts.score.outcomes import write_outcomes

HIDDEN = Split(dataset="d", folder="validation-hidden")
BUDGETS = Inference().max_new_tokens
MULTI = "Multi-label Classification"

QUESTIONS = [
    row("imagesTs/0.png", OPTIONS, None),
    row(
        ["imagesTs/0.png", "imagesTs/1 é.png"],
        " Which ones?  Choose from: Caries; Crown. ",
        None,
        "Multi-label Classification",
    ),
    row("imagesTs/1 é.png", "Where is it? [x, y, width, height]", None, "Detection"),
    row("imagesTs/1 é.png", "Where is each?", None, "Instance Detection"),
    row("imagesTs/2.png", "How many?", None, "Counting"),
    row("imagesTs/2.png", "How old?", "", "Regression"),
    row("imagesTs/2.png", "Describe.", None, "Report Generation"),
]
TASKS = ["classification", "multi_label", "detection", "instance_detection", "counting", "regression", "report"]


def absent(record: dict) -> dict:
    """The record without the field."""
    return {key: value for key, value in record.items() if key != "Answer"}


def hidden_root(place, rows):
    names = ("imagesTs/0.png", "imagesTs/1 é.png", "imagesTs/2.png")
    write_subset(place, rows, {name: png(i) for i, name in enumerate(names)}, folder="validation-hidden")
    return place


@pytest.fixture
def unanswered(tmp_path):
    return converted(hidden_root(tmp_path / "root", [*QUESTIONS[:6], absent(QUESTIONS[6])]), tmp_path, no_answer="keep")


def test_by_default_a_row_without_an_answer_is_quarantined(tmp_path):
    result = converted(hidden_root(tmp_path / "root", QUESTIONS), tmp_path)
    assert_conserved(result)
    assert [entry.reason for entry in result.quarantine] == ["no_answer"] * 7


def test_rows_let_pass_of_every_task_have_no_typed_answer_and_a_note(unanswered):
    assert_conserved(unanswered)
    assert unanswered.quarantine == []
    assert [r.task for r in unanswered.rows] == TASKS
    assert {r.answer for r in unanswered.rows} == {""}
    assert [r.answer_raw for r in unanswered.rows] == ["null"] * 5 + ['""', "null"]
    assert all(
        getattr(r, column) is None for r in unanswered.rows for column in ("labels", "number", "boxes", "instances")
    )
    assert all(len(r.notes) == 1 and r.notes[0].startswith("kept_defect: no_answer: ") for r in unanswered.rows)
    conventions = [r.expected.box_convention for r in unanswered.rows]
    assert conventions == [None, None, "xywh", "xywh", None, None, None]
    assert not any(r.has_answer for r in unanswered.rows)


def test_the_audit_reports_each_of_them(unanswered):
    findings = audit_findings(unanswered.rows, unanswered.quarantine, unanswered.images)
    assert [(f.kind, f.action) for f in findings] == [("kept_defect", "kept")] * 7
    assert findings[0].detail == "no_answer: the answer is null"
    assert label_counts(unanswered.rows) == []
    assert [s.rows for s in summarise(unanswered.rows, len)] == [1] * 7


def test_an_image_of_questions_without_answers_is_no_leak(tmp_path):
    root = hidden_root(tmp_path / "root", QUESTIONS)
    write_subset(root, [row("imagesTr/0.png")], pngs(1))
    rows = converted(root, tmp_path, no_answer="keep").rows
    assert {f.kind for f in audit_findings(rows, [], [])} == {"kept_defect"}


def test_an_empty_label_set_is_still_an_answer(tmp_path):
    records = [row(f"imagesTr/{i}.png", "Which?", answer, MULTI) for i, answer in enumerate(("", "None", []))]
    result = convert_rows(tmp_path, records, no_answer="keep")
    assert [r.labels for r in result.rows] == [(), (), ()]
    assert all(r.has_answer for r in result.rows)


def test_a_file_with_answers_still_supersedes_the_one_without(tmp_path):
    root = tmp_path / "root"
    answered = [row("imagesTr/0.png"), row("imagesTr/1.png")]
    bare = [absent(answered[0]), answered[1] | {"Answer": None}, row("imagesTr/2.png", answer=None)]
    write_subset(root, bare, pngs(3), file="ds_questions_val.json")
    write_subset(root, answered, {}, file="ds_questions_val_withGT.json")
    result = converted(root, tmp_path, no_answer="keep")
    assert_conserved(result)
    assert result.reasons == {("ds_questions_val.json", i): "superseded" for i in range(2)}
    assert sorted((r.image_name, r.answer) for r in result.rows) == [
        ('"imagesTr/0.png"', "A"), ('"imagesTr/1.png"', "A"), ('"imagesTr/2.png"', ""),
    ]  # fmt: skip


def test_a_row_without_an_answer_is_no_duplicate_contradiction_or_outlier(tmp_path):
    ages = [row(f"imagesTr/{i}.png", "How old?", 30 + i, "Regression") for i in range(24)]
    records = [
        *(row("imagesTr/0.png", answer=answer) for answer in ("A", None, None)),
        row("imagesTr/24.png", "How old?", None, "Regression"),
    ]
    result = convert_rows(tmp_path, [*ages, *records], 25, no_answer="keep")
    assert result.quarantine == [] and len(result.rows) == 28


def test_a_split_leaves_them_out_and_chooses_as_if_they_were_not_there(tmp_path):
    drawn = pngs(30)
    records = [row(name, answer=None if i % 3 == 0 else "A") for i, name in enumerate(drawn)]
    (tmp_path / "other").mkdir()
    result = convert_rows(tmp_path, records, 30, no_answer="keep")
    without = convert_rows(tmp_path / "other", records, 30)
    spec = Split(dataset="d", folder="training", part={"start": 0.0, "stop": 0.5}, limit=8)
    rows, left_out = split_rows(result.rows, spec, [], {})
    plain, nothing = split_rows(without.rows, spec, [], {})
    assert rows == plain and nothing == []
    assert {entry.reason for entry in left_out} == {"no_answer"} and len(left_out) == 10
    everything, nothing = split_rows(result.rows, Split(dataset="d", folder="training"), [], {}, keep_unanswered=True)
    assert len(everything) == 30 and nothing == []


def test_a_split_in_which_nothing_is_answered_says_where_it_belongs(unanswered):
    with pytest.raises(EmptySplit, match=r"none of 7 rows of d in folder 'validation-hidden' has an answer.*`submit`"):
        split_rows(unanswered.rows, HIDDEN, [], {})


def test_rows_without_answers_are_not_scored(unanswered, tmp_path):
    write_rows(tmp_path / "rows.parquet", unanswered.rows, Row)
    write_rows(tmp_path / "p.parquet", [], Prediction)
    files = {"split": tmp_path / "rows.parquet", "predictions": tmp_path / "p.parquet", "out": tmp_path / "o.parquet"}
    with pytest.raises(Refused, match="7 rows have no answer to score by"):
        write_outcomes(system="s", **files)


def test_a_hidden_split_is_answered_and_handed_in_row_by_row(unanswered, tmp_path):
    """Files, rows, split, requests and grammars, predictions, and the file for the challenge."""
    rows, left_out = split_rows(unanswered.rows, HIDDEN, [], {}, keep_unanswered=True)
    assert left_out == []
    requests = requests_of(rows, Prompt(), BUDGETS)
    assert [len(request.images) for request in requests] == [1, 2, 1, 1, 1, 1, 1]
    grammar = load_part(rows[0].task, "grammar").grammar(rows[0].expected, rows[0].images, BUDGETS[rows[0].task])
    assert grammar == 'start: "A" | "B" | "C"\n'  # letters, for want of any answer
    predictions = [
        Prediction(uid=request.uid, system="s", text=f"answer {n}", finish_reason="stop")
        for n, request in enumerate(requests)
    ]
    write_rows(tmp_path / "rows.parquet", rows, Row)
    write_rows(tmp_path / "predictions.parquet", predictions, Prediction)
    files = {"split": tmp_path / "rows.parquet", "predictions": tmp_path / "predictions.parquet"}
    export(**files, out=tmp_path / "predictions.json")
    written = json.loads((tmp_path / "predictions.json").read_text())
    for field in ("ImageName", "Question", "TaskType"):
        assert [record[field] for record in written] == [record[field] for record in QUESTIONS]
    assert [record["Answer"] for record in written] == [f"answer {n}" for n in range(7)]
