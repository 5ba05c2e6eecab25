"""A sweep chooses by held-back rows alone, as its selection says, and publishes what the chosen setting did."""

import json
from dataclasses import replace

import pytest

from tests.conftest import make_row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.recipes import Evaluation, Recipe, Selection
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import write_rows
from workflow_scripts.core.tasks import tasks
from workflow_scripts.core.training_rows import SampleAnswer, TrainingStep
from workflow_scripts.train.select import mean_row_score, select

FREE_TEXT = next(task.name for task in tasks().values() if task.free_text)
RECIPES = {keep: Recipe(evaluation=Evaluation(every=10, samples=2, keep=keep)) for keep in ("best", "last")}


def logged(step, loss):
    return TrainingStep(step, 1.0, None, None, None, None, None, loss)


@pytest.fixture
def folders(tmp_path, root):
    """Three settings: `a` is best at step 10, `b` ends best, `c` has the greatest row score; training rows beside."""
    rows = [make_row(root, number) for number in range(4)]
    write_rows(tmp_path / "rows.parquet", rows, Row)
    losses = {"a": {10: 0.5, 20: 0.9}, "b": {10: 0.8, 20: 0.6}, "c": {10: 0.7, 20: 0.95}}
    said = {"a": ("0", "9"), "b": ("9", "9"), "c": ("0", "1")}  # to rows whose answers are 0 and 1
    for name, steps in losses.items():
        folder = tmp_path / name
        (folder / "adapter").mkdir(parents=True)
        (folder / "adapter/adapter_model.safetensors").write_bytes(name.encode())
        (folder / "speed.json").write_text("{}")
        write_rows(folder / "history.parquet", [logged(step, loss) for step, loss in steps.items()], TrainingStep)
        answers = [
            SampleAnswer(step, rows[number].uid, rows[number].question, rows[number].answer, text)
            for step in steps
            for number, text in enumerate(said[name])
        ]
        write_rows(folder / "samples.parquet", answers, SampleAnswer)
    return tmp_path


def chosen(folders, selection, keep="best"):
    """The name of the chosen setting, and the whole selection."""
    out = folders / "sweep"
    out.mkdir(exist_ok=True)
    select(
        selection=selection,
        sweep="sweep",
        settings=["a", "b", "c"],
        recipes=[RECIPES[keep]] * 3,
        folders=[folders / name for name in "abc"],
        split=folders / "rows.parquet",
        weights=out / "adapter/adapter_model.safetensors",
        out=out / "selection.json",
    )
    written = json.loads((out / "selection.json").read_text())
    return written["chosen"], written


def test_the_least_loss_of_the_published_checkpoints_is_chosen(folders):
    name, written = chosen(folders, Selection())
    assert (name, [entry["step"] for entry in written["settings"]]) == ("a", [10, 20, 10])
    assert [entry["loss"] for entry in written["settings"]] == [0.5, 0.6, 0.7]
    assert chosen(folders, Selection(), keep="last")[0] == "b"


def test_answers_are_chosen_by_where_the_selection_says_so(folders):
    name, written = chosen(folders, Selection(metric="row_score"))
    assert name == "c"
    scores = {entry["name"]: entry["row_score"] for entry in written["settings"]}
    assert scores["c"] == 1.0 > scores["a"] > scores["b"]


def test_weights_log_and_answers_of_the_chosen_setting_are_the_sweeps_own(folders):
    chosen(folders, Selection(), keep="last")
    for file in ("adapter/adapter_model.safetensors", "history.parquet", "samples.parquet", "speed.json"):
        assert (folders / "sweep" / file).read_bytes() == (folders / "b" / file).read_bytes()
    chosen(folders, Selection())
    assert (folders / "sweep/adapter/adapter_model.safetensors").read_bytes() == b"a"


def test_a_setting_that_was_never_evaluated_is_named_with_the_remedy(folders):
    write_rows(folders / "b/history.parquet", [logged(3, None)], TrainingStep)
    with pytest.raises(Refused, match=r"b was never evaluated in 3 steps: lower evaluation\.every"):
        chosen(folders, Selection())


def test_a_loss_that_is_not_a_number_is_never_chosen(folders):
    write_rows(folders / "a/history.parquet", [logged(10, float("nan"))], TrainingStep)
    assert chosen(folders, Selection())[0] == "b"
    for name in "bc":
        write_rows(folders / name / "history.parquet", [logged(10, float("nan"))], TrainingStep)
    with pytest.raises(Refused, match="no setting has a loss to choose by"):
        chosen(folders, Selection())


def test_free_text_has_no_row_score_of_its_own(root):
    row = make_row(root, 0)
    report = replace(row, uid="report", task=FREE_TEXT, number=None, answer="No acute findings.")
    answers = [SampleAnswer(1, uid, "?", "", "0") for uid in (row.uid, "report")]
    assert mean_row_score(answers, [row, report]) == 1.0
    assert mean_row_score(answers[1:], [row, report]) is None
