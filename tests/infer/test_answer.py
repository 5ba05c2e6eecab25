"""The same text in every way of asking, each row once, and a killed job goes on."""

import json
from collections import Counter

import pytest

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.tables import PREDICTIONS, read_table
from workflow_scripts.engines.transformers_engine import TransformersEngine
from workflow_scripts.infer.answer import answer
from workflow_scripts.infer.gather import gather
from workflow_scripts.infer.progress import Progress

BUDGETS = {"counting": 6}


def run(split, tree, tiny, features, out, shard=(0, 1), batch=3, adapter=None):
    answer(split, shard, tree, tiny, adapter, features, "base", Prompt(), BUDGETS, batch, out, threads=1)
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


def test_a_line_that_a_kill_cut_short_is_not_an_answer(tmp_path):
    progress = Progress(tmp_path / "all.parquet", "workflow_scripts.infer.answer", ["identity"])
    progress.path.write_text(json.dumps({"uid": "a"}) + "\n" + '{"uid": "b", "te')
    again = Progress(tmp_path / "all.parquet", "workflow_scripts.infer.answer", ["identity"])
    assert list(again.rows) == ["a"]
    assert again.path.read_text() == json.dumps({"uid": "a"}) + "\n"


def test_answers_to_something_else_are_not_taken_over(tmp_path):
    progress = Progress(tmp_path / "all.parquet", "workflow_scripts.infer.answer", ["identity"])
    progress.path.write_text(json.dumps({"uid": "a"}) + "\n")
    assert not Progress(tmp_path / "all.parquet", "workflow_scripts.infer.answer", ["another"]).rows


def test_gathering_refuses_a_missing_and_a_doubled_row(split, tree, tmp_path, tiny, features):
    shard = tmp_path / "0.parquet"
    run(split, tree, tiny, features, shard, (0, 2))
    with pytest.raises(Refused, match="not answered exactly once"):
        gather(split, [shard], tmp_path / "all.parquet")
    with pytest.raises(Refused, match="not answered exactly once"):
        gather(split, [shard, shard], tmp_path / "all.parquet")


def test_a_tuned_tower_answers_on_its_own_output(split, tree, tiny, features, tmp_path, one_by_one):
    assert run(split, tree, tiny, None, tmp_path / "all.parquet") == one_by_one
