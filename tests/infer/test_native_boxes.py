"""Boxes in a model's own form, from its shards to the challenge's file: everywhere in the rows', the model's beside."""

import json

import pytest

from tests.score.conftest import row as any_row
from workflow_scripts.cache.fingerprints import sources
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.models import BoxForm
from workflow_scripts.core.config.systems.model import Prompt
from workflow_scripts.core.rows import Box, ExpectedFormat, Image, Instance, Outcome, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.infer.export import export
from workflow_scripts.infer.gather import gather
from workflow_scripts.models.loading import load
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.tasks.boxes.model_answers import native_row
from workflow_scripts.tasks.boxes.model_sizes import ModelBoxes
from workflow_scripts.train.preflight import check_rows
from workflow_scripts.train.rows import training_row

IMAGE = (Image("a.png", "0" * 64, 640, 480),)
ROWS = [
    any_row(
        0,
        "detection",
        "[[64, 48, 320, 480]]",
        images=IMAGE,
        boxes=(Box(64.0, 48.0, 320.0, 480.0),),
        expected=ExpectedFormat(box_convention="xyxy", width=640, height=480),
    ),
    any_row(
        1,
        "instance_detection",
        '{"x": [[64, 48, 256, 432]]}',
        images=IMAGE,
        instances=(Instance("x", Box(64.0, 48.0, 320.0, 480.0)),),
        expected=ExpectedFormat(box_convention="xywh", width=640, height=480, labels=("x",)),
    ),
    any_row(2, "detection", "[]", boxes=(), expected=ExpectedFormat(box_convention="xyxy", width=640, height=480)),
    any_row(3, "report", "No effusion."),
]
ANSWERS = [
    '[{"bbox_2d": [100, 100, 500, 1000]}]',
    '[{"bbox_2d": [100, 100, 500, 1000], "label": "x"}]',
    "left",
    "Clear.",
]


def gathered(folder, **boxes):
    write_rows(folder / "rows.parquet", ROWS, Row)
    shards = [folder / "shards" / f"{number}-of-2.parquet" for number in (1, 2)]
    shards[0].parent.mkdir()
    predictions = [Prediction(row.uid, "s", text, "stop") for row, text in zip(ROWS, ANSWERS, strict=True)]
    for number, shard in enumerate(shards):
        write_rows(shard, predictions[number::2], Prediction)
    gather(split=folder / "rows.parquet", shards=shards, system="s", out=folder / "predictions.parquet", **boxes)
    return read_rows(folder / "predictions.parquet", Prediction)


def test_predictions_are_in_the_rows_form_with_the_models_beside(tmp_path):
    predictions = gathered(tmp_path, boxes=BoxForm(convention="qwen3_vl"))
    texts = ["[[64, 48, 320, 480]]", '{"x": [[64, 48, 256, 432]]}', "left", "Clear."]
    assert [prediction.text for prediction in predictions] == texts
    assert [prediction.raw_text for prediction in predictions] == [*ANSWERS[:3], None]
    assert [prediction.model_text for prediction in predictions] == ANSWERS
    assert [prediction.box_fault for prediction in predictions] == [
        None,
        None,
        'no JSON list of {"bbox_2d": [...]}',
        None,
    ]


def test_outcomes_and_the_challenges_file_see_pixels_of_the_original(tmp_path):
    gathered(tmp_path, boxes=BoxForm(convention="qwen3_vl"))
    split, predictions = tmp_path / "rows.parquet", tmp_path / "predictions.parquet"
    write_outcomes(split=split, predictions=predictions, system="s", out=tmp_path / "outcomes.parquet")
    outcomes = read_rows(tmp_path / "outcomes.parquet", Outcome)
    assert [outcome.outcome for outcome in outcomes] == ["valid", "valid", "malformed", "valid"]
    assert [outcome.strict == outcome.reference for outcome in outcomes[:3]] == [True, True, False]
    assert [outcome.text for outcome in outcomes] == ANSWERS
    assert outcomes[2].box_fault == 'no JSON list of {"bbox_2d": [...]}'
    export(split=split, predictions=predictions, out=tmp_path / "predictions.json")
    records = json.loads((tmp_path / "predictions.json").read_text())
    assert [record["Answer"] for record in records[:2]] == [row.answer for row in ROWS[:2]]


def test_the_datasets_form_is_left_as_it_is(tmp_path):
    predictions = gathered(tmp_path)
    assert [prediction.text for prediction in predictions] == ANSWERS
    assert {prediction.raw_text for prediction in predictions} == {None}


def test_mending_how_boxes_are_read_asks_no_model_again():
    folder = "workflow_scripts/tasks/boxes"
    asking = sources("workflow_scripts.infer.answer", "gemma3")
    assert f"{folder}/model_questions.py" in asking
    assert f"{folder}/model_reading.py" not in asking
    reading = {
        f"{folder}/{name}.py" for name in ("model_reading", "model_conventions")
    }  # shots are written by the latter
    assert reading <= set(sources("workflow_scripts.infer.gather"))
    assert f"{folder}/model_reading.py" not in sources("workflow_scripts.train.tune", "gemma3")


def test_training_shows_the_models_form_and_asks_for_it(tiny):
    loaded, form = load(tiny), ModelBoxes("medgemma")
    rows = [native_row(row, form) for row in ROWS]
    examples = [training_row(row, Prompt(), loaded) for row in rows]
    check_rows(rows, examples, Prompt(), loaded)
    texts = [loaded.processor.tokenizer.decode(example["input_ids"]) for example in examples]
    assert '[{"box_2d": [100, 100, 1000, 500]}]' in texts[0]
    assert "in thousandths of the image's height and width. If there is no box, write []." in texts[0]


def test_a_grammar_does_not_bound_boxes_in_the_models_form(tiny, tmp_path):
    write_rows(tmp_path / "rows.parquet", ROWS[:1], Row)
    member = GroupMember(system="s", constrained=True, boxes=BoxForm(convention="medgemma"))
    with pytest.raises(Refused, match="grammars bound boxes in the dataset's form; set `constrained: false`, or"):
        answer(
            split=tmp_path / "rows.parquet",
            model=tiny,
            root=tmp_path,
            members=[member],
            max_new_tokens={"detection": 8},
            batch=1,
            threads=1,
            store=tmp_path / "store",
            out=tmp_path / "out.parquet",
        )
