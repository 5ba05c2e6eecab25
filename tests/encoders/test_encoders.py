"""Encoders learn tasks from rows and write ordinary predictions: every architecture, every head, long texts too."""

import os
import random
import signal
from dataclasses import replace

import numpy as np
import pytest

from tests.encoders.tiny import ARCHITECTURES, TASKS, row_of, rows_of, write_encoder
from workflow_scripts.core.answers import Value
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems.encoder import EncoderTraining, EncoderTuning
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.encoders import train as module
from workflow_scripts.encoders.answer import answer_split
from workflow_scripts.encoders.description import read_description
from workflow_scripts.encoders.inputs import Collator, Reader
from workflow_scripts.encoders.networks import fresh_network
from workflow_scripts.encoders.outputs import outputs_of
from workflow_scripts.encoders.train import train_encoder
from workflow_scripts.tasks.encodings import ENCODINGS
from workflow_scripts.tasks.entities.bio import tags
from workflow_scripts.tasks.entities.documents import question_about
from workflow_scripts.tasks.entities.examples import Example

ROWS = rows_of(8)
TEXTS = [text for row in ROWS for text in (row.question, row.expected.text or "")]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Training rows, and the record of a tiny encoder of GatorTron's architecture."""
    folder = tmp_path_factory.mktemp("encoders")
    write_rows(folder / "train.parquet", ROWS, Row)
    write_encoder(folder / "megatron", TEXTS)
    return folder


def tuned(place, out, *, record="megatron", split="train.parquet", store=None, **spec):
    spec = {"length": 96, "stride": 16, "tuning": EncoderTuning(epochs=1, learning_rate=1e-3)} | spec
    train_encoder(
        spec=EncoderTraining(**spec), split=place / split, record=place / f"{record}.json", out=out / "encoder",
        history=out / "history.parquet", checkpoints=out / "checkpoints", store=store,
    )  # fmt: skip
    return out


def answered(place, out, split="train.parquet"):
    answer_split(split=place / split, encoder=out / "encoder", system="tiny", out=out / "p.parquet")
    return {prediction.uid: prediction for prediction in read_rows(out / "p.parquet", Prediction)}


@pytest.fixture(scope="module")
def all_tasks(place, tmp_path_factory):
    """The tiny encoder after an epoch of every task."""
    return tuned(place, tmp_path_factory.mktemp("tuned"))


def test_every_task_goes_from_rows_to_answers_that_are_read_strictly(place, all_tasks):
    predictions = answered(place, all_tasks)
    assert set(predictions) == {row.uid for row in ROWS}
    for row in ROWS:
        value: Value | None = load_part(row.task, "reading").read_strict(row.expected, predictions[row.uid].text)
        assert value is not None, (row.uid, predictions[row.uid].text)
    assert {prediction.finish_reason for prediction in predictions.values()} == {"stop"}


def test_what_is_published_says_of_what_it_is_and_is_checked(place, all_tasks):
    description = read_description(all_tasks / "encoder")
    assert set(description.heads) == set(TASKS) and description.heads["relations"].labels == (
        "no relation",
        "Dose-Drug",
    )
    assert not [name for name in description.files if name.endswith((".bin", ".pt", ".pkl"))]
    history = read_rows(all_tasks / "history.parquet", TrainingStep)
    assert [step.step for step in history] == list(range(1, len(history) + 1))
    file = all_tasks / "encoder" / "entities" / "config.json"
    before = file.read_bytes()
    file.write_bytes(before + b" ")
    with pytest.raises(BadFile, match="is not what was tuned"):
        read_description(all_tasks / "encoder")
    file.write_bytes(before)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_architecture_has_every_head(architecture, tmp_path):
    write_encoder(tmp_path / "encoder", TEXTS, architecture)
    write_rows(tmp_path / "train.parquet", [row for row in ROWS if row.case_id in ("c0", "c1", "c2", "c3")], Row)
    tuned(tmp_path, tmp_path / "out", record="encoder", tuning=EncoderTuning(epochs=1))
    assert {uid.partition("/")[0] for uid in answered(tmp_path, tmp_path / "out")} == set(TASKS)


@pytest.mark.slow
def test_a_tiny_encoder_learns_its_training_rows(place, tmp_path):
    out = tuned(place, tmp_path, tasks=("entities",), tuning=EncoderTuning(epochs=80, learning_rate=5e-3))
    predictions = answered(place, out)
    rows = [row for row in ROWS if row.task == "entities"]
    assert set(predictions) == {row.uid for row in rows}  # others have no answer
    pairs = [(set(predictions[row.uid].text.splitlines()), set(row.answer.splitlines())) for row in rows]
    assert 2 * sum(len(one & two) for one, two in pairs) / sum(len(one) + len(two) for one, two in pairs) > 0.9


@pytest.mark.slow
def test_tuning_twice_gives_the_same_bytes_and_the_store_spares_the_second(place, tmp_path, monkeypatch):
    spec = {"tasks": ("entailment",)}
    one = tuned(place, tmp_path / "one", store=tmp_path / "store", **spec)
    two = tuned(place, tmp_path / "two", **spec)
    name = "encoder/entailment/model.safetensors"
    assert (one / name).read_bytes() == (two / name).read_bytes()
    assert (one / "history.parquet").read_bytes() == (two / "history.parquet").read_bytes()
    monkeypatch.setattr(module, "_tune", lambda *_: pytest.fail("it was tuned again"))
    three = tuned(place, tmp_path / "three", store=tmp_path / "store", **spec)
    assert (one / name).read_bytes() == (three / name).read_bytes()
    assert not (three / "encoder" / "entry.json").exists()
    with pytest.raises(pytest.fail.Exception):
        tuned(place, tmp_path / "four", store=tmp_path / "store", tasks=("entailment",), tuning=EncoderTuning(seed=2))


@pytest.mark.slow
def test_a_signal_saves_and_the_next_run_ends_as_an_undisturbed_one(place, tmp_path, monkeypatch):
    spec = {"tasks": ("entailment", "similarity"), "tuning": EncoderTuning(epochs=4, learning_rate=1e-3)}
    whole = tuned(place, tmp_path / "whole", **spec)
    step = module.Trainer.training_step

    def signalled(self, *arguments, **options):
        if self.state.global_step == 2 and self.args.output_dir.endswith("similarity"):
            os.kill(os.getpid(), signal.SIGUSR1)
        return step(self, *arguments, **options)

    monkeypatch.setattr(module.Trainer, "training_step", signalled)
    with pytest.raises(Refused, match="SIGUSR1 after step 3: the checkpoint is saved; run again to go on"):
        tuned(place, tmp_path / "again", **spec)
    assert not (tmp_path / "again" / "encoder").exists()
    monkeypatch.setattr(module.Trainer, "training_step", step)
    again = tuned(place, tmp_path / "again", **spec)
    for task in spec["tasks"]:
        name = f"encoder/{task}/model.safetensors"
        assert (again / name).read_bytes() == (whole / name).read_bytes()
    assert (again / "history.parquet").read_bytes() == (whole / "history.parquet").read_bytes()
    assert not any((tmp_path / "again" / "checkpoints").iterdir())


def test_a_lost_loss_stops_with_the_remedy(place, tmp_path, monkeypatch):
    compute = module.Trainer.compute_loss
    monkeypatch.setattr(module.Trainer, "compute_loss", lambda *a, **o: compute(*a, **o) * float("nan"))
    with pytest.raises(Refused, match="the loss is nan at step 1: lower learning_rate"):
        tuned(place, tmp_path, tasks=("entailment",))
    assert not (tmp_path / "encoder").exists()


def test_a_long_text_is_read_in_windows_that_lose_no_word(place):
    words = [f"word{number}" if number % 7 else "aspirin" for number in range(400)]
    text = " ".join(words)
    model, tokenizer = fresh_network(place / "megatron.json", "tokens", tags(["Drug"]), (), 0)
    reader = Reader(tokenizer, "tokens", tags(["Drug"]), 64, 16)
    spans = tuple((start, start + 7, "Drug") for start in range(len(text)) if text.startswith("aspirin", start))
    windows = reader.windows([Example(text, spans=spans)])
    assert len(windows) > 5 and max(map(len, windows)) <= 64
    # A network that says what is to be learned gives the spans again, from whichever window.
    logits = [np.eye(3)[[max(label, 0) for label in window.labels]] for window in windows]
    assert outputs_of("tokens", tags(["Drug"]), windows, logits, 1) == [list(spans)]
    batch = Collator(tokenizer, "tokens")(windows)
    assert batch["labels"].shape == batch["input_ids"].shape
    del model


def test_an_answer_in_a_later_window_is_found_and_none_is_none(place):
    text = "the patient slept well . " * 40 + "He was given aspirin for fever."
    start = text.index("aspirin")
    _, tokenizer = fresh_network(place / "megatron.json", "span", (), (), 0)
    reader = Reader(tokenizer, "span", (), 64, 16)
    windows = reader.windows([Example("What was he given?", text, spans=((start, start + 7, ""),))])
    assert len(windows) > 3 and [window.labels != (0, 0) for window in windows].count(True) >= 1
    logits = [[np.eye(len(window))[place] for place in window.labels] for window in windows]
    assert outputs_of("span", (), windows, logits, 1, False) == [(start, start + 7)]
    nothing = [[np.eye(len(window))[0]] * 2 for window in windows]
    assert outputs_of("span", (), windows, nothing, 1) == [None]


def test_of_overlapping_entities_the_longest_is_learned_and_the_loss_is_counted():
    question = question_about("Pain in the left leg.", "Which?", "Types: Problem; Site")
    raw = [{"type": "Problem", "spans": [[0, 4], [17, 20]]}, {"type": "Site", "start": 12, "end": 20}]
    row = row_of("entities", 0, question, raw)
    encoding = ENCODINGS["entities"]
    assert encoding.learn([row]) == {"labels": ["Problem", "Site"], "entities": 2, "overlapping": 1, "in_parts": 1}
    assert encoding.examples(row, {})[0].spans == ((0, 20, "Problem"),)


def test_related_entities_are_marked_and_the_answer_names_them():
    row = next(row for row in ROWS if row.task == "relations" and row.answer != "none")
    encoding = ENCODINGS["relations"]
    known = encoding.learn([row])
    examples = encoding.examples(row, known)
    assert known["pairs"] == [["Dose", "Drug"]]
    assert all(example.first.count(mark) == 1 for example in examples for mark in encoding.MARKS)
    assert encoding.answer(row, known, [example.label for example in examples]) == row.answer
    marked = next(example.first for example in examples if example.label == "Dose-Drug")
    assert marked.index("[S1]") < marked.index("[E1]") and "[S2]" in marked


@pytest.mark.parametrize("task", TASKS)
def test_a_rows_answer_is_not_read_when_it_is_answered(task):
    rng = random.Random(1)
    row = rng.choice([row for row in ROWS if row.task == task])
    known = ENCODINGS[task].learn([other for other in ROWS if other.task == task])
    other = next(each for each in ROWS if each.task == task and each.answer != row.answer)
    blind = replace(row, answer=other.answer if task in ("entailment", "similarity") else row.answer)
    read = [(example.first, example.second) for example in ENCODINGS[task].examples(blind, known)]
    assert read == [(example.first, example.second) for example in ENCODINGS[task].examples(row, known)]


def test_there_must_be_something_to_tune_for(place, tmp_path):
    write_rows(tmp_path / "other.parquet", [replace(ROWS[0], task="counting")], Row)
    for record in ("megatron.json", "megatron.seen.json"):
        (tmp_path / record).symlink_to(place / record)
    (tmp_path / "megatron").symlink_to(place / "megatron")
    with pytest.raises(Refused, match="holds no task that an encoder answers"):
        tuned(tmp_path, tmp_path, split="other.parquet")
    with pytest.raises(Refused, match="has no entities row"):
        tuned(tmp_path, tmp_path, split="other.parquet", tasks=("entities",))
    one = [row for row in ROWS if row.task == "entailment" and row.answer == "entailment"]
    write_rows(tmp_path / "one.parquet", one, Row)
    with pytest.raises(Refused, match="there is nothing to tell apart"):
        tuned(tmp_path, tmp_path, split="one.parquet")
    with pytest.raises(Refused, match="torch sees none"):
        train_encoder(
            spec=EncoderTraining(), split=place / "train.parquet", record=place / "megatron.json", gpus=1,
            out=tmp_path / "x", history=tmp_path / "h.parquet", checkpoints=tmp_path / "c",
        )  # fmt: skip
