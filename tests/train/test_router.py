"""A router's classifier learns which expert a question is for, and is the same when it is read back."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import BertModel, PreTrainedTokenizerFast

from tests.conftest import make_row
from tests.train.text_encoder import write_encoder
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.models import Checkpoint
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.config.systems.routed import Route
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.infer.route import write_route
from workflow_scripts.models.fetch import fetch
from workflow_scripts.models.routing.classifier import Examples, Head, TfIdfClassifier
from workflow_scripts.models.routing.encoder import QuestionEncoder
from workflow_scripts.models.routing.rows import RoutedRow, RouterConfusion, RouterScore
from workflow_scripts.score.router import score_router
from workflow_scripts.train import router as module
from workflow_scripts.train.router import train_router

ASKING = {
    "counting": ("How many {} are there?", "What is the number of {}?", "Count the {}."),
    "detection": ("Where are the {}?", "Give the box of the {}.", "Locate the {}."),
    "report": ("Describe the {}.", "Write a report of the {}.", "What do the {} show?"),
}
THINGS = ("cells", "lungs", "bones", "teeth", "vessels", "nodules")
WORDS = sorted({w for t in ASKING.values() for q in t for w in q.format("").rstrip(".?").lower().split()} | {*THINGS})


def rows_of(root, things):
    """Rows of three tasks that ask for these things."""
    wanted = [(task, text.format(thing)) for task, texts in ASKING.items() for text in texts for thing in things]
    return [
        make_row(root, place, uid=f"r{place:03d}", task=task, question=question, case_id=f"c{place // 2}")
        for place, (task, question) in enumerate(wanted)
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, root):
    folder = tmp_path_factory.mktemp("router")
    write_rows(folder / "train.parquet", rows_of(root, THINGS[:4]) * 2, Row)
    rows = rows_of(root, THINGS[4:])
    write_rows(folder / "rows.parquet", rows, Row)
    for name in ("counter", "finder", "general"):
        write_rows(
            folder / f"{name}.parquet", [Prediction(r.uid, name, f"{name} {r.uid}", "stop") for r in rows], Prediction
        )
    return folder


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """The record of a random encoder: its means of word vectors still tell words apart."""
    folder = write_encoder(tmp_path_factory.mktemp("encoder") / "bert", WORDS)
    record = folder.with_suffix(".json")
    fetch(spec=Checkpoint(family="encoder", checkpoint=str(folder)), record=record)
    return record


def route_of(encoder="tfidf", **changes):
    experts = {"counting": "counter", "detection": "finder"}
    return Route(
        **{"by": "classifier", "experts": experts, "default": "general", "train": "train", "encoder": encoder} | changes
    )


def learned(folder, out, encoder=None, **more):
    train_router(split=folder / "train.parquet", encoder=encoder, out=out, **more)
    return out


def routed(folder, out, router, route, encoder=None):
    names = ("counter", "finder", "general")
    write_route(
        split=folder / "rows.parquet", system="router", route=route, router=router, encoder=encoder,
        predictions=[folder / f"{name}.parquet" for name in names], out=out / "p.parquet", routes=out / "r.parquet",
    )  # fmt: skip
    return read_rows(out / "p.parquet", Prediction), read_rows(out / "r.parquet", RoutedRow)


def test_questions_that_were_not_seen_find_their_expert(folder, tmp_path):
    answers, routes = routed(folder, tmp_path, learned(folder, tmp_path / "router"), route_of())
    used = [row for row in routes if row.in_use]
    assert {row.router for row in used} == {"tfidf"} and {row.router for row in routes} == {"tfidf", "majority"}
    assert sum(row.chosen == row.label for row in used) / len(used) > 0.9
    expert = {row.uid: row.expert for row in used}
    assert [answer.text for answer in answers] == [f"{expert[answer.uid]} {answer.uid}" for answer in answers]
    assert {row.expert for row in used if row.chosen == "report"} == {"general"}  # no expert of its own


def test_an_encoders_head_stands_beside_tfidf_and_the_majority(folder, tmp_path, encoder):
    route = route_of({"checkpoint": "elsewhere"})
    router = learned(folder, tmp_path / "router", encoder)
    _, routes = routed(folder, tmp_path, router, route, encoder)
    assert {row.router for row in routes if row.in_use} == {"encoder"}
    assert {row.router for row in routes} == {"encoder", "tfidf", "majority"}
    used = [row for row in routes if row.in_use]
    assert sum(row.chosen == row.label for row in used) / len(used) > 0.6  # by words alone: the network is random
    parameters = json.loads((router / "router.json").read_text())["parameters"]
    network = sum(p.numel() for p in BertModel.from_pretrained(encoder.with_suffix("")).parameters())
    assert parameters["encoder"] == network + 3 * 32 + 3 and parameters["majority"] == 0


def test_a_question_below_the_threshold_goes_to_the_default(folder, tmp_path):
    router = learned(folder, tmp_path / "router")
    _, routes = routed(folder, tmp_path, router, route_of(threshold=0.999))
    unsure = [row for row in routes if row.in_use and row.probability < 0.999]
    assert unsure and {row.expert for row in unsure} == {"general"}


def test_what_was_learned_is_read_back_to_the_same_probabilities_and_holds_no_pickle(folder, tmp_path):
    router = learned(folder, tmp_path / "router")
    rows = read_rows(folder / "train.parquet", Row)
    again = TfIdfClassifier.fit(Examples.of([r.question for r in rows], [r.task for r in rows]))
    questions = ["How many cells?", "Where is the lung?", "", "Ganz anders"]
    assert np.array_equal(TfIdfClassifier.load(router).probabilities(questions), again.probabilities(questions))
    assert {file.suffix for file in router.iterdir()} == {".json", ".safetensors"}


def test_learning_twice_gives_the_same_bytes(folder, tmp_path, encoder):
    one, two = (learned(folder, tmp_path / name, encoder) for name in ("one", "two"))
    for file in sorted(one.iterdir()):
        if file.name != "speed.json":
            assert file.read_bytes() == (two / file.name).read_bytes(), file.name


def test_the_same_questions_are_learned_once(folder, tmp_path, monkeypatch):
    store = tmp_path / "store"
    one = learned(folder, tmp_path / "one", store=store)
    monkeypatch.setattr(module, "_learn_tfidf", lambda *_: pytest.fail("it was learned again"))
    two = learned(folder, tmp_path / "two", store=store)
    assert {f.name: f.read_bytes() for f in one.iterdir()} == {f.name: f.read_bytes() for f in two.iterdir()}
    with pytest.raises(pytest.fail.Exception):
        learned(folder, tmp_path / "three", on="modality", store=store)


def test_rare_classes_count_as_much_as_common_ones():
    questions = ["How many?"] * 9 + ["Where?"]
    examples = Examples.of(questions, ["counting"] * 9 + ["detection"])
    assert dict(zip(examples.labels, examples.weights, strict=True)) == {"counting": 5.0, "detection": 5.0}


def test_one_class_and_two_are_classes_too():
    vectors = np.eye(2)
    assert Head.fit(vectors, ["a", "a"], np.ones(2)).probabilities(vectors).tolist() == [[1.0], [1.0]]
    two = Head.fit(vectors, ["a", "b"], np.ones(2)).probabilities(vectors)
    assert two.argmax(1).tolist() == [0, 1] and np.allclose(two.sum(1), 1)


def test_a_vector_is_the_mean_over_a_questions_tokens_whatever_shares_its_batch(encoder):
    network = QuestionEncoder(encoder)
    questions = ["How many cells are there?", "Where are the lungs?", "Describe the bones."]
    alone = np.concatenate([network.embed([question], 1) for question in questions])
    assert np.allclose(network.embed(questions, 3), alone, atol=1e-6)
    assert np.allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-6)
    model = BertModel.from_pretrained(encoder.with_suffix("")).eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(encoder.with_suffix(""))
    with torch.inference_mode():
        mean = model(**tokenizer(questions[:1], return_tensors="pt")).last_hidden_state[0].mean(0)
    assert np.allclose(alone[0], (mean / mean.norm()).numpy(), atol=1e-6)


def test_an_empty_split_and_a_changed_encoder_stop_the_step(folder, tmp_path, encoder):
    write_rows(tmp_path / "none.parquet", [], Row)
    with pytest.raises(Refused, match="has no rows to learn from"):
        train_router(split=tmp_path / "none.parquet", out=tmp_path / "router")
    moved = tmp_path / "records" / "bert"
    shutil.copytree(encoder.with_suffix(""), moved)
    fetch(spec=Checkpoint(family="encoder", checkpoint=str(moved)), record=moved.with_suffix(".json"))
    with (moved / "tokenizer.json").open("a") as stream:
        stream.write(" ")
    with pytest.raises(BadFile, match=r"tokenizer\.json was changed since"):
        learned(folder, tmp_path / "router", moved.with_suffix(".json"))


def test_accuracy_confusion_and_unsure_rows_are_counted(folder, tmp_path):
    router = learned(folder, tmp_path / "router")
    _, routes = routed(folder, tmp_path, router, route_of())
    wrong = [replace(r, chosen="counting", probability=0.1) if r.in_use and r.label == "report" else r for r in routes]
    write_rows(tmp_path / "r.parquet", wrong, RoutedRow)
    score_router(
        split=folder / "rows.parquet", routes=tmp_path / "r.parquet", router=router, threshold=0.3,
        scoring=Scoring(resamples=100), out=tmp_path / "s.parquet", confusion=tmp_path / "c.parquet",
    )  # fmt: skip
    scores = {(s.router, s.label): s for s in read_rows(tmp_path / "s.parquet", RouterScore)}
    used = [row for row in wrong if row.in_use]
    every, reports = scores["tfidf", None], scores["tfidf", "report"]
    assert every.right == sum(row.chosen == row.label for row in used) and every.rows == len(used)
    assert (reports.right, reports.unsure, reports.accuracy) == (0, 6, 0.0)
    assert every.low <= every.accuracy <= every.high and every.clusters == 9
    assert scores["majority", None].accuracy == pytest.approx(1 / 3)
    confusions = {(c.router, c.label, c.chosen): c.rows for c in read_rows(tmp_path / "c.parquet", RouterConfusion)}
    assert confusions["tfidf", "report", "counting"] == 6
    counted = Counter((row.router, row.label, str(row.chosen)) for row in wrong)
    assert confusions == counted
