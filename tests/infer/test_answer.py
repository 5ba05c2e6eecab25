"""The same text in every way of asking, each row once, and a killed job goes on."""

from collections import Counter

import pytest

from tests.conftest import make_row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.tables import PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.engines.exchange import Picture, Request, Response
from workflow_scripts.engines.transformers_engine import TransformersEngine
from workflow_scripts.infer.answer import answer
from workflow_scripts.infer.gather import gather
from workflow_scripts.infer.progress import Progress, key_of
from workflow_scripts.infer.trivial import answer_trivially, usual_answer

BUDGETS = {"counting": 6}


def run(split, tree, tiny, features, out, shard=(0, 1), batch=3, adapter=None):
    options = {"threads": 1, "store": out.with_suffix(".kept")}
    answer(split, shard, tree, tiny, adapter, features, "base", Prompt(), BUDGETS, batch, out, **options)
    return read_table(out, PREDICTIONS).to_pylist()


@pytest.fixture(scope="module")
def one_by_one(split, tree, tiny, features, tmp_path_factory):
    return run(split, tree, tiny, features, tmp_path_factory.mktemp("one") / "all.parquet", batch=1)


def test_batched_equals_one_by_one(split, tree, tiny, features, tmp_path, one_by_one):
    assert run(split, tree, tiny, features, tmp_path / "all.parquet", batch=8) == one_by_one


def test_sharded_and_gathered_equals_whole(split, tree, tiny, features, tmp_path, one_by_one):
    shards = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, shard in enumerate(shards):
        run(split, tree, tiny, features, shard, (number, 3))
    gather(split, shards[::-1], tmp_path / "all.parquet")
    assert read_table(tmp_path / "all.parquet", PREDICTIONS).to_pylist() == one_by_one


def test_a_killed_run_answers_only_what_is_left(split, tree, tiny, features, tmp_path, one_by_one, monkeypatch):
    out = tmp_path / "all.parquet"
    asked = Counter()
    generate = TransformersEngine.generate

    def counted(self, batch):
        if sum(asked.values()) >= 3:
            raise KeyboardInterrupt
        asked.update(request.uid for request, _ in batch)
        return generate(self, batch)

    monkeypatch.setattr(TransformersEngine, "generate", counted)
    with pytest.raises(KeyboardInterrupt):
        run(split, tree, tiny, features, out, batch=2)
    assert not out.exists()
    first = Counter(asked)
    monkeypatch.setattr(
        TransformersEngine,
        "generate",
        lambda self, batch: (asked.update(r.uid for r, _ in batch), generate(self, batch))[1],
    )
    assert run(split, tree, tiny, features, out, batch=2) == one_by_one
    assert first and set(asked.values()) == {1}


def request(uid="a", **changes):
    chat, images = [{"role": "user", "content": "How many?"}], (Picture("0" * 64, "a.png"),)
    return Request(**({"uid": uid, "chat": chat, "images": images, "max_new_tokens": 6} | changes))


def kept_progress(store, requests, identity="identity"):
    """Progress after the first request was answered."""
    progress = Progress(store, "workflow_scripts.infer.answer", [identity], requests)
    with progress:
        progress.keep([Response(requests[0].uid, "3", "stop", 9, 2, "hash")], engine="transformers")
    return progress


def test_a_line_that_a_kill_cut_short_is_not_an_answer(tmp_path):
    requests = [request("a"), request("b", max_new_tokens=7)]
    kept_progress(tmp_path, requests)
    file = next(tmp_path.rglob("*.jsonl"))
    cut = file.read_text().replace(key_of(requests[0]), key_of(requests[1]))[:60]
    file.write_text(file.read_text() + cut)
    assert list(Progress(tmp_path, "workflow_scripts.infer.answer", ["identity"], requests).rows) == ["a"]


def test_a_kept_answer_is_of_the_same_words_pictures_budget_and_answerer(tmp_path):
    kept_progress(tmp_path, [request()])

    def taken_over(identity="identity", **changes):
        asked = request("of another split", **changes)
        return bool(Progress(tmp_path, "workflow_scripts.infer.answer", [identity], [asked]).rows)

    assert taken_over()
    assert taken_over(images=(Picture("0" * 64, "moved.png"),))
    assert not taken_over(images=(Picture("1" * 64, "a.png"),))
    assert not taken_over(chat=[{"role": "user", "content": "How many cells?"}])
    assert not taken_over(max_new_tokens=5)
    assert not taken_over(identity="another")


def test_gathering_refuses_a_missing_and_a_doubled_row(split, tree, tmp_path, tiny, features):
    shard = tmp_path / "0.parquet"
    run(split, tree, tiny, features, shard, (0, 2))
    with pytest.raises(Refused, match="not answered exactly once"):
        gather(split, [shard], tmp_path / "all.parquet")
    with pytest.raises(Refused, match="not answered exactly once"):
        gather(split, [shard, shard], tmp_path / "all.parquet")


def test_the_trivial_system_gives_mode_median_and_median_box():
    assert usual_answer([{"task": "classification", "answer": a} for a in "BAB"]) == "B"
    assert usual_answer([{"task": "classification", "answer": a} for a in "BA"]) == "A"
    assert usual_answer([{"task": "counting", "number": n, "answer": str(n)} for n in (1, 3, 50)]) == "3"
    percents = [{"task": "regression", "number": n, "answer": f"{n}%"} for n in (10.5, 20.5, 30.5)]
    assert usual_answer(percents) == "20.5%"
    boxes = [
        {"task": "detection", "convention": "xywh", "boxes": [{"x1": v, "y1": 0, "x2": v + 10, "y2": 8}]}
        for v in (0, 4, 9)
    ]
    assert usual_answer(boxes) == "[[4, 0, 10, 8]]"


def test_the_trivial_system_answers_every_row_and_refuses_an_unknown_task(split, tree, tmp_path):
    answer_trivially(split, split, "majority", tmp_path / "a.parquet")
    assert len(read_table(tmp_path / "a.parquet", PREDICTIONS)) == 8
    write_table(tmp_path / "other.parquet", [make_row(tree, 1, task="report")], ROWS)
    with pytest.raises(Refused, match="has no report row to answer row/1 from"):
        answer_trivially(split, tmp_path / "other.parquet", "majority", tmp_path / "b.parquet")


def test_a_tuned_tower_answers_on_its_own_output(split, tree, tiny, features, tmp_path, one_by_one):
    assert run(split, tree, tiny, None, tmp_path / "all.parquet") == one_by_one
