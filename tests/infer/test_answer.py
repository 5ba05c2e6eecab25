"""The same text in every way of asking, each row once, and a killed job goes on."""

import json
import shutil
from collections import Counter
from dataclasses import replace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from workflow_scripts.core.command import Refused
from workflow_scripts.core.requests import Request, RequestImage, Response
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.engines.local.engine import TransformersEngine
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.infer.gather import gather
from workflow_scripts.infer.questions.answer_cache import Progress, key_of
from workflow_scripts.infer.stability import write_stability
from workflow_scripts.models.loading import load

LIMITS = {"counting": 6}
BASE = GroupMember(system="base")


def run(split, root, tiny, features, out, shard="1-of-1", batch=3, members=(BASE,)):
    answer(
        split=split,
        shard=shard,
        model=tiny,
        root=root,
        features=features,
        members=list(members),
        max_new_tokens=LIMITS,
        batch=batch,
        threads=1,
        store=out.with_suffix(".answers"),
        out=out,
    )
    return read_rows(out, Prediction)


def gathered(split, shards, system, out):
    gather(split=split, shards=shards, system=system, out=out)
    return read_rows(out, Prediction)


@pytest.fixture(scope="module")
def adapter(tiny, tmp_path_factory):
    """An adapter with random weights, far enough from zero that it changes the answers."""
    torch.manual_seed(0)
    loaded = load(tiny)
    tuned = get_peft_model(
        loaded.model, LoraConfig(r=4, lora_alpha=8, target_modules=loaded.family.lora_targets["language"])
    )
    for name, parameter in tuned.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    folder = tmp_path_factory.mktemp("system") / "adapter"
    tuned.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module", params=["base", "tuned"])
def group(request, adapter):
    return [GroupMember(system=request.param, adapter=adapter if request.param == "tuned" else None)]


@pytest.fixture(scope="module")
def one_by_one(split, root, tiny, features, group, tmp_path_factory):
    return run(split, root, tiny, features, tmp_path_factory.mktemp("one") / "all.parquet", batch=1, members=group)


def test_batched_equals_one_by_one(split, root, tiny, features, tmp_path, one_by_one, group):
    assert run(split, root, tiny, features, tmp_path / "all.parquet", batch=8, members=group) == one_by_one


def test_sharded_and_gathered_equals_whole(split, root, tiny, features, tmp_path, one_by_one, group):
    shards = [tmp_path / f"{number}.parquet" for number in range(3)]
    for number, shard in enumerate(shards):
        run(split, root, tiny, features, shard, f"{number + 1}-of-3", members=group)
    assert gathered(split, shards[::-1], group[0].system, tmp_path / "all.parquet") == one_by_one


def test_a_member_with_rows_of_its_own_answers_its_part_of_them(split, root, tiny, features, tmp_path):
    rows = read_rows(split, Row)[1:]
    write_rows(tmp_path / "own.parquet", rows, Row)
    own = GroupMember(system="own", rows=tmp_path / "own.parquet")
    answers = run(split, root, tiny, features, tmp_path / "part.parquet", "2-of-2", members=[own])
    assert [answer.uid for answer in answers] == [row.uid for row in rows[1::2]] != []


def test_base_and_tuned_by_one_load_answer_as_each_alone(split, root, tiny, features, tmp_path, adapter):
    base, tuned = BASE, GroupMember(system="tuned", adapter=adapter)
    alone = [run(split, root, tiny, features, tmp_path / f"{a.system}.parquet", members=[a]) for a in (base, tuned)]
    assert [row.text for row in alone[0]] != [row.text for row in alone[1]]
    together = run(split, root, tiny, features, tmp_path / "both.parquet", members=[base, tuned])
    assert together == [*alone[0], *alone[1]]
    for system, wanted in zip(("base", "tuned"), alone, strict=True):
        assert gathered(split, [tmp_path / "both.parquet"], system, tmp_path / "gathered.parquet") == wanted


def test_another_adapter_asks_the_base_of_its_group_nothing(
    split, root, tiny, features, tmp_path, adapter, monkeypatch
):
    requests_by_adapter = Counter()
    generate = TransformersEngine.generate
    monkeypatch.setattr(
        TransformersEngine,
        "generate",
        lambda self, batch: (
            requests_by_adapter.update([self._loaded.adapted] * len(batch)),
            generate(self, batch),
        )[1],
    )
    out = tmp_path / "both.parquet"
    first = run(split, root, tiny, features, out, members=[BASE, GroupMember(system="tuned", adapter=adapter)])
    assert requests_by_adapter == {False: 8, True: 8}
    other = shutil.copytree(adapter, tmp_path / "other")
    weights = load_file(other / "adapter_model.safetensors")
    save_file({name: -value for name, value in weights.items()}, other / "adapter_model.safetensors")
    again = run(split, root, tiny, features, out, members=[BASE, GroupMember(system="tuned", adapter=other)])
    assert requests_by_adapter == {False: 8, True: 16}
    assert again[:8] == first[:8]


def test_constrained_answers_are_read_strictly_and_say_so(split, root, tiny, features, tmp_path, one_by_one):
    free = run(split, root, tiny, features, tmp_path / "free.parquet")
    group = [GroupMember(system="base", constrained=True)]
    bound = run(split, root, tiny, features, tmp_path / "bound.parquet", members=group)
    assert {row.constrained for row in bound} == {True} and {row.constrained for row in free} == {False}
    assert all(row.text.isdigit() and row.finish_reason == "stop" for row in bound)
    assert not any(row.text.isdigit() for row in free)


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
    assert run(split, root, tiny, features, tmp_path / "all.parquet", batch=8, members=group) == one_by_one
    assert sizes == [8, 4, 2, 2, 2, 2]


def test_a_killed_run_answers_only_what_is_left(split, root, tiny, features, tmp_path, one_by_one, group, monkeypatch):
    out = tmp_path / "all.parquet"
    requests_by_adapter = Counter()
    generate = TransformersEngine.generate

    def counted(self, batch, **how):
        if sum(requests_by_adapter.values()) >= 3:
            raise KeyboardInterrupt
        requests_by_adapter.update(request.uid for request, _ in batch)
        return generate(self, batch, **how)

    monkeypatch.setattr(TransformersEngine, "generate", counted)
    with pytest.raises(KeyboardInterrupt):
        run(split, root, tiny, features, out, batch=2, members=group)
    assert not out.exists()
    first = Counter(requests_by_adapter)
    monkeypatch.setattr(
        TransformersEngine,
        "generate",
        lambda self, batch, **how: (requests_by_adapter.update(r.uid for r, _ in batch), generate(self, batch, **how))[
            1
        ],
    )
    assert run(split, root, tiny, features, out, batch=2, members=group) == one_by_one
    assert first and set(requests_by_adapter.values()) == {1}


def request(uid="a", **changes):
    chat, images = [{"role": "user", "content": "How many?"}], (RequestImage("0" * 64, "a.png", 8, 8),)
    return Request(**({"uid": uid, "chat": chat, "images": images, "max_new_tokens": 6} | changes))


def stored_progress(store, requests, **answerer):
    """Progress after the first request was answered."""
    progress = Progress(store, "code", answerer, requests)
    with progress:
        progress.keep([Response(requests[0].uid, "3", "stop", 9, 2, "hash")], engine="transformers")
    return progress


def test_a_line_that_a_kill_cut_short_is_not_an_answer(tmp_path):
    requests = [request("a"), request("b", max_new_tokens=7)]
    stored_progress(tmp_path, requests)
    file = next(tmp_path.rglob("*.jsonl"))
    cut = file.read_text().replace(key_of(requests[0]), key_of(requests[1]))[:60]
    file.write_text(file.read_text() + cut)
    assert list(Progress(tmp_path, "code", {}, requests).rows) == [("a", 0)]


def test_a_cached_answer_is_of_the_same_words_images_limit_and_answerer(tmp_path):
    stored_progress(tmp_path, [request()], model="one")

    def is_cached(model="one", **changes):
        requests = [request("of another split", **changes)]
        return bool(Progress(tmp_path, "code", {"model": model}, requests).rows)

    assert is_cached()
    assert is_cached(images=(RequestImage("0" * 64, "moved.png", 8, 8),))
    assert not is_cached(images=(RequestImage("1" * 64, "a.png", 8, 8),))
    assert not is_cached(chat=[{"role": "user", "content": "How many cells?"}])
    assert not is_cached(max_new_tokens=5)
    assert not is_cached(model="another")


def test_gathering_refuses_a_missing_and_a_doubled_row(split, root, tmp_path, tiny, features):
    shard = tmp_path / "0.parquet"
    run(split, root, tiny, features, shard, "1-of-2")
    with pytest.raises(Refused, match="not answered exactly once"):
        gather(split=split, shards=[shard], system="base", out=tmp_path / "all.parquet")
    with pytest.raises(Refused, match="not answered exactly once"):
        gather(split=split, shards=[shard, shard], system="base", out=tmp_path / "all.parquet")


def test_a_tuned_tower_answers_on_its_own_output(split, root, tiny, features, tmp_path, one_by_one, group):
    assert run(split, root, tiny, None, tmp_path / "all.parquet", members=group) == one_by_one


def test_no_answer_changes_with_the_batch_in_float32(split, root, tiny, features, tmp_path, group):
    run(split, root, tiny, features, tmp_path / "all.parquet", batch=8, members=group)
    predictions, out = tmp_path / "all.parquet", tmp_path / "stability.json"

    def stability():
        write_stability(
            split=split,
            predictions=predictions,
            model=tiny,
            root=root,
            features=features,
            member=group[0],
            max_new_tokens=LIMITS,
            batch=3,
            sample=5,
            threads=1,
            out=out,
        )
        return json.loads(out.read_text())

    summary = stability()
    assert (summary["rows"], summary["changed"], summary["by_task"]["counting"]["rows"]) == (5, 0, 5)
    others = [replace(row, text="other") for row in read_rows(predictions, Prediction)]
    write_rows(predictions, others, Prediction)
    assert stability()["changed"] == 5


def test_too_few_features_of_images_are_an_error_before_the_model_sees_them(tiny):
    loaded = load(tiny)
    image = RequestImage("0" * 64, "0.png", 112, 96)
    chat = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "How many?"}]}]
    engine = TransformersEngine(loaded, lambda images: torch.zeros(3, 64), 1)
    with pytest.raises(ValueError, match="image tokens in prompts, and features of 3"):
        list(engine.answers([Request("a", chat, (image,), 4)]))
