"""The same text in every way of asking, each row once, and a killed job goes on."""

import json
import shutil
from collections import Counter

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from workflow_scripts.core.command import Refused
from workflow_scripts.core.requests import Request, RequestImage, Response
from workflow_scripts.core.tables import PREDICTIONS, read_table, write_table
from workflow_scripts.engines.local.engine import TransformersEngine
from workflow_scripts.infer.answer import Asked, answer
from workflow_scripts.infer.answer_cache import Progress, key_of
from workflow_scripts.infer.gather import gather
from workflow_scripts.infer.stability import check_stability
from workflow_scripts.models.loading import load

BUDGETS = {"counting": 6}


def run(split, root, tiny, features, out, shard=(0, 1), batch=3, group=None):
    options = {"threads": 1, "store": out.with_suffix(".kept")}
    answer(split, shard, root, tiny, features, group or [Asked("base")], BUDGETS, batch, out, **options)
    return read_table(out, PREDICTIONS).to_pylist()


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    """An adapter with random weights, far enough from zero that it changes the answers."""
    torch.manual_seed(0)
    loaded = load(tiny)
    tuned = get_peft_model(
        loaded.model, LoraConfig(r=4, lora_alpha=8, target_modules=loaded.family.LORA_TARGETS["language"])
    )
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("system") / "adapter"
    tuned.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["base", "tuned"])
def group(request, adapter):
    return [Asked(request.param, adapter if request.param == "tuned" else None)]


@pytest.fixture(scope="module")
def one_by_one(split, root, tiny, features, group, tmp_path_factory):
    return run(split, root, tiny, features, tmp_path_factory.mktemp("one") / "all.parquet", batch=1, group=group)


def test_batched_equals_one_by_one(split, root, tiny, features, tmp_path, one_by_one, group):
    assert run(split, root, tiny, features, tmp_path / "all.parquet", batch=8, group=group) == one_by_one


def test_sharded_and_gathered_equals_whole(split, root, tiny, features, tmp_path, one_by_one, group):
    shards = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, shard in enumerate(shards):
        run(split, root, tiny, features, shard, (number, 3), group=group)
    gather(split, shards[::-1], group[0].system, tmp_path / "all.parquet")
    assert read_table(tmp_path / "all.parquet", PREDICTIONS).to_pylist() == one_by_one


def test_base_and_tuned_by_one_load_answer_as_each_alone(split, root, tiny, features, tmp_path, adapter):
    base, tuned = Asked("base"), Asked("tuned", adapter)
    alone = [run(split, root, tiny, features, tmp_path / f"{a.system}.parquet", group=[a]) for a in (base, tuned)]
    assert [row["text"] for row in alone[0]] != [row["text"] for row in alone[1]]
    together = run(split, root, tiny, features, tmp_path / "both.parquet", group=[base, tuned])
    assert together == [*alone[0], *alone[1]]
    for system, wanted in zip(("base", "tuned"), alone, strict=True):
        gather(split, [tmp_path / "both.parquet"], system, tmp_path / "gathered.parquet")
        assert read_table(tmp_path / "gathered.parquet", PREDICTIONS).to_pylist() == wanted


def test_another_adapter_asks_the_base_of_its_cohort_nothing(
    split, root, tiny, features, tmp_path, adapter, monkeypatch
):
    asked = Counter()
    generate = TransformersEngine.generate
    monkeypatch.setattr(
        TransformersEngine,
        "generate",
        lambda self, batch, adapted: (asked.update([adapted] * len(batch)), generate(self, batch, adapted=adapted))[1],
    )
    out = tmp_path / "both.parquet"
    first = run(split, root, tiny, features, out, group=[Asked("base"), Asked("tuned", adapter)])
    assert asked == {False: 8, True: 8}
    other = shutil.copytree(adapter, tmp_path / "other")
    weights = load_file(other / "adapter_model.safetensors")
    save_file({name: -value for name, value in weights.items()}, other / "adapter_model.safetensors")
    again = run(split, root, tiny, features, out, group=[Asked("base"), Asked("tuned", other)])
    assert asked == {False: 8, True: 16}
    assert again[:8] == first[:8]


def test_two_adapters_in_one_load_are_refused(split, root, tiny, features, tmp_path, adapter):
    with pytest.raises(Refused, match="a, b: one load holds one adapter"):
        run(split, root, tiny, features, tmp_path / "x", group=[Asked("a", adapter), Asked("b", tmp_path)])


def test_constrained_answers_are_read_strictly_and_say_so(split, root, tiny, features, tmp_path, one_by_one):
    free = run(split, root, tiny, features, tmp_path / "free.parquet")
    bound = run(split, root, tiny, features, tmp_path / "bound.parquet", group=[Asked("base", constrained=True)])
    assert {row["constrained"] for row in bound} == {True} and {row["constrained"] for row in free} == {False}
    assert all(row["text"].isdigit() and row["finish"] == "stop" for row in bound)
    assert not any(row["text"].isdigit() for row in free)


def test_a_batch_that_does_not_fit_is_halved_for_good(
    split, root, tiny, features, tmp_path, one_by_one, group, monkeypatch
):
    sizes = []
    generate = TransformersEngine.generate

    def scarce(self, batch, **how):
        sizes.append(len(batch))
        if len(batch) > 2:
            raise torch.OutOfMemoryError
        return generate(self, batch, **how)

    monkeypatch.setattr(TransformersEngine, "generate", scarce)
    assert run(split, root, tiny, features, tmp_path / "all.parquet", batch=8, group=group) == one_by_one
    assert sizes == [8, 4, 2, 2, 2, 2]


def test_a_killed_run_answers_only_what_is_left(split, root, tiny, features, tmp_path, one_by_one, group, monkeypatch):
    out = tmp_path / "all.parquet"
    asked = Counter()
    generate = TransformersEngine.generate

    def counted(self, batch, **how):
        if sum(asked.values()) >= 3:
            raise KeyboardInterrupt
        asked.update(request.uid for request, _ in batch)
        return generate(self, batch, **how)

    monkeypatch.setattr(TransformersEngine, "generate", counted)
    with pytest.raises(KeyboardInterrupt):
        run(split, root, tiny, features, out, batch=2, group=group)
    assert not out.exists()
    first = Counter(asked)
    monkeypatch.setattr(
        TransformersEngine,
        "generate",
        lambda self, batch, **how: (asked.update(r.uid for r, _ in batch), generate(self, batch, **how))[1],
    )
    assert run(split, root, tiny, features, out, batch=2, group=group) == one_by_one
    assert first and set(asked.values()) == {1}


def request(uid="a", **changes):
    chat, images = [{"role": "user", "content": "How many?"}], (RequestImage("0" * 64, "a.png"),)
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
    assert taken_over(images=(RequestImage("0" * 64, "moved.png"),))
    assert not taken_over(images=(RequestImage("1" * 64, "a.png"),))
    assert not taken_over(chat=[{"role": "user", "content": "How many cells?"}])
    assert not taken_over(max_new_tokens=5)
    assert not taken_over(identity="another")


def test_gathering_refuses_a_missing_and_a_doubled_row(split, root, tmp_path, tiny, features):
    shard = tmp_path / "0.parquet"
    run(split, root, tiny, features, shard, (0, 2))
    with pytest.raises(Refused, match="not answered exactly once"):
        gather(split, [shard], "base", tmp_path / "all.parquet")
    with pytest.raises(Refused, match="not answered exactly once"):
        gather(split, [shard, shard], "base", tmp_path / "all.parquet")


def test_a_tuned_tower_answers_on_its_own_output(split, root, tiny, features, tmp_path, one_by_one, group):
    assert run(split, root, tiny, None, tmp_path / "all.parquet", group=group) == one_by_one


def test_no_answer_changes_with_the_batch_in_float32(split, root, tiny, features, tmp_path, group):
    run(split, root, tiny, features, tmp_path / "all.parquet", batch=8, group=group)
    predictions, out = tmp_path / "all.parquet", tmp_path / "stability.json"
    check_stability(split, predictions, root, tiny, features, group[0], BUDGETS, 3, 5, out, threads=1)
    found = json.loads(out.read_text())
    assert (found["rows"], found["changed"], found["by_task"]["counting"]["rows"]) == (5, 0, 5)
    rows = [{**row, "text": "other"} for row in read_table(predictions, PREDICTIONS).to_pylist()]
    write_table(predictions, rows, PREDICTIONS)
    check_stability(split, predictions, root, tiny, features, group[0], BUDGETS, 3, 5, out, threads=1)
    assert json.loads(out.read_text())["changed"] == 5
