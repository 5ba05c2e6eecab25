"""Every record of the inputs is answered or listed with a reason, and the time is held against a limit."""

import json
import re
import time

import pytest

from tests.data.roots import converted, pngs, row, write_subset
from workflow_scripts.core.command import Refused
from workflow_scripts.core.rows import Prediction, QuarantinedRow, Row
from workflow_scripts.core.tables import write_rows
from workflow_scripts.infer.export import export
from workflow_scripts.submit.outcome import write_outcome

LONG = "Why? " * 600  # a record whose JSON the quarantine cuts
RECORDS = [
    row("imagesTr/0.png", answer=None),
    row("imagesTr/absent.png", answer=None),
    row("imagesTr/1.png", answer=None, task="Segmentation"),
    row(["imagesTr/1.png", "imagesTr/absent.png"], LONG, None),
    "no object",
    row("imagesTr/0.png", answer=None),  # the same question again: a key that is answered
]


@pytest.fixture
def files(tmp_path):
    """Flags of the step after a conversion and the export of an answer to each of its rows."""
    root = tmp_path / "root"
    write_subset(root, RECORDS, pngs(2), folder="testing")
    write_subset(root, "{", {}, folder="testing", file="broken.json")
    write_subset(root, [row("imagesTr/1.png", "Once more?", "A")], {}, folder="testing", file="q_withGT.json")
    write_subset(root, [row("imagesTr/1.png", "Once more?", None)], {}, folder="testing", file="q.json")
    result = converted(root, tmp_path, no_answer="keep")
    write_rows(tmp_path / "rows.parquet", result.rows, Row)
    write_rows(tmp_path / "quarantine.parquet", result.quarantine, QuarantinedRow)
    answers = [Prediction(entry.uid, "s", "A", "transformers") for entry in result.rows]
    write_rows(tmp_path / "answers.parquet", answers, Prediction)
    predictions = tmp_path / "predictions.json"
    export(split=tmp_path / "rows.parquet", predictions=tmp_path / "answers.parquet", out=predictions)
    outputs = {name: tmp_path / f"{name}.json" for name in ("predictions", "unanswered", "timing")}
    return outputs | {"quarantine": tmp_path / "quarantine.parquet"}


def test_each_record_is_answered_or_listed_with_its_place_and_reason(files):
    said = write_outcome(**files, began=int(time.time()) - 10)
    listed = json.loads(files["unanswered"].read_text())
    reasons = {(entry["file"].rpartition("/")[2], entry["row"]): entry["reason"] for entry in listed}
    assert reasons == {
        ("broken.json", None): "unreadable_file",
        ("ds_questions_train.json", 1): "missing_image",
        ("ds_questions_train.json", 2): "unknown_task",
        ("ds_questions_train.json", 3): "missing_image",
        ("ds_questions_train.json", 4): "not_an_object",
    }
    assert all(entry["detail"] for entry in listed)
    answered = json.loads(files["predictions"].read_text())
    assert len(answered) == 3
    assert "5 records cannot be asked" in said


def test_a_question_that_another_file_repeats_with_an_answer_is_answered_once(files):
    write_outcome(**files, began=int(time.time()))
    assert "superseded" not in files["unanswered"].read_text()
    assert [record["Question"] for record in json.loads(files["predictions"].read_text())].count("Once more?") == 1


def test_begin_end_and_rate_are_written(files):
    write_outcome(**files, began=int(time.time()) - 30, limit=600.0)
    timing = json.loads(files["timing"].read_text())
    assert timing["answered"] == 3 and timing["unanswered"] == 5 and timing["limit_seconds"] == 600
    assert timing["within_limit"] is True
    assert 30 <= timing["seconds"] <= 35
    assert timing["answered_per_second"] == pytest.approx(3 / timing["seconds"], abs=0.001)
    assert timing["began"] < timing["ended"] and timing["began"].endswith("+00:00")


def test_more_time_than_the_limit_is_said_and_fails_only_where_that_is_wanted(files):
    late = r"3 questions answered in \d+ s .*; longer than the limit of 20 s"
    said = write_outcome(**files, began=int(time.time()) - 30, limit=20.0)
    assert re.match(late, said)
    assert json.loads(files["timing"].read_text())["within_limit"] is False
    files["timing"].unlink()
    with pytest.raises(Refused, match=late):
        write_outcome(**files, began=int(time.time()) - 30, limit=20.0, strict=True)
    assert json.loads(files["timing"].read_text())["limit_seconds"] == 20
    assert len(json.loads(files["unanswered"].read_text())) == 5


def test_without_a_limit_nothing_is_within_it(files):
    write_outcome(**files, began=int(time.time()) - 30)
    timing = json.loads(files["timing"].read_text())
    assert timing["limit_seconds"] is None and timing["within_limit"] is None
