"""A model behind a server: each row once, whatever the server does, and the token nowhere."""

import base64
import gzip
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from collections import Counter
from email.utils import formatdate
from itertools import cycle
from operator import attrgetter

import pytest
from PIL import Image

from tests.chat_server import ChatServer, Fault, Reply, echo
from tests.conftest import make_row
from workflow_scripts import ROOT
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.systems import Prompt
from workflow_scripts.core.files import BadFile, sha256_of
from workflow_scripts.core.images import decode_image
from workflow_scripts.core.requests import Request, RequestImage
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, read_table, write_rows
from workflow_scripts.engines.local.engine import TransformersEngine
from workflow_scripts.engines.server import bodies
from workflow_scripts.engines.server import client as openai_server
from workflow_scripts.engines.server.client import OpenAIServer, ServerFault
from workflow_scripts.engines.server.engine import data_url
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.infer.answer_cache import key_of
from workflow_scripts.infer.ask import ask
from workflow_scripts.infer.gather import gather
from workflow_scripts.infer.requests import requests_of
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import write_record

LIMITS = {"counting": 6}
FAULTS = {
    "a busy server": Fault(429, '{"error": {"message": "busy"}}', {"Retry-After": "0"}),
    "an error": Fault(500, "Internal Server Error"),
    "a bad gateway": Fault(502, "<html>Bad Gateway</html>"),
    "a server that is starting": Fault(503, "", {"Retry-After": "0"}),
    "a gateway's timeout": Fault(504),
    "a page of HTML": Fault(200, "<html>Welcome</html>"),
    "JSON that is cut short": Fault(200, '{"choices": [{"message": {"conte'),
    "JSON of something else": Fault(200, '{"error": {"message": "no engine"}}'),
    "a connection dropped at once": Fault(cut=0),
    "a connection dropped in the middle": Fault(cut=20),
    "a stall": Fault(pause=1.0),
    "an answer that drips": Fault(drip=0.1),
    "an answer broken off": Fault(200, '{"choices": [{"message": {"content": "x"}, "finish_reason": "abort"}]}'),
}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(openai_server, "PAUSE", 0.01)


def store_of(out):
    """The folder of cached answers beside `out`."""
    return out.with_suffix(".answers")


def run(split, root, server, out, **changes):
    options = {"shard": "1-of-1", "model": "{}", "served_as": "base", "system": "there", "prompt": Prompt()}
    options |= {"max_new_tokens": LIMITS, "url": server.url, "workers": 4, "timeout": 10.0, "retries": 5}
    ask(split=split, root=root, store=store_of(out), out=out, **(options | changes))
    return read_rows(out, Prediction)


@pytest.fixture(scope="module")
def undisturbed(split, root, tmp_path_factory):
    with ChatServer() as server:
        return run(split, root, server, tmp_path_factory.mktemp("undisturbed") / "all.parquet")


def command(split, root, server, out, *more):
    spec = ["--split", split, "--shard", "1-of-1", "--model", "{}", "--served-as", "base", "--root", root]
    spec += ["--system", "there", "--prompt", "{}", "--max-new-tokens", "counting", 6, "--url", server.url]
    spec += ["--timeout", "10", "--retries", "1", "--store", store_of(out), "--out", out, *more]
    return [sys.executable, "-m", "workflow_scripts.infer.ask", *map(str, spec)]


# Words that the server would take for markup, and a model whose files are here


def with_questions(root, folder, questions):
    """A split of rows with these questions."""
    rows = [make_row(root, number, question=question) for number, question in enumerate(questions)]
    write_rows(folder / "rows.parquet", rows, Row)
    return folder / "rows.parquet"


GEMMA, PALIGEMMA = json.dumps({"family": "gemma3"}), json.dumps({"family": "paligemma2"})


@pytest.mark.parametrize(
    ("model", "word"),
    [(GEMMA, "<start_of_image>"), (GEMMA, "<end_of_turn>"), (GEMMA, "<unused94>"), (PALIGEMMA, "<image>")],
)
def test_a_question_with_the_models_markup_is_refused_by_its_rows_name_before_anything_is_sent(
    root, tmp_path, model, word
):
    split = with_questions(root, tmp_path, ["How many?", f"{word}How many?", f"How many {word}?"])
    with ChatServer() as server:
        with pytest.raises(Refused) as refusal:
            run(split, root, server, tmp_path / "o", model=model)
        assert server.bodies == []
    assert str(refusal.value) == (
        f"the question of row/1 holds {word}, which a server takes for the model's markup (2 rows hold such words): "
        "answer this system without an engine, where such a word is text, or take it out"
    )
    with ChatServer() as server, pytest.raises(Refused, match=f"the system prompt holds {word}, which a server"):
        run(split, root, server, tmp_path / "o", shard="1-of-8", model=model, prompt=Prompt(system=f"Be brief. {word}"))


def test_what_is_no_markup_of_the_model_is_sent_as_it_stands(root, tmp_path):
    questions = ["Is a < b > c?", "<table>", "<image> of what?", "</s>"]
    split = with_questions(root, tmp_path, questions)
    with ChatServer() as server:
        run(split, root, server, tmp_path / "o", model=GEMMA, workers=1)
        assert [body["messages"][-1]["content"][-1]["text"] for body in server.bodies] == questions


def test_answers_of_a_local_model_depend_on_the_bytes_of_its_files(split, root, tiny, tmp_path):
    folder = shutil.copytree(tiny.with_suffix(""), tmp_path / "models/mine")
    record = folder.with_suffix(".json")
    write_record(record, "mine", "gemma3", folder, None)
    with ChatServer() as server:
        for requests in (8, 8):
            run(split, root, server, tmp_path / "o", record=record)
            assert len(server.bodies) == requests
        with (folder / "chat_template.jinja").open("a") as stream:
            stream.write(" ")
        with pytest.raises(BadFile, match=r"chat_template\.jinja was changed since"):
            run(split, root, server, tmp_path / "o", record=record)
        write_record(record, "mine", "gemma3", folder, None)
        run(split, root, server, tmp_path / "o", record=record)
        assert len(server.bodies) == 16


# What is asked and what is written


def test_every_row_is_answered_once_in_the_order_of_the_split(split, undisturbed):
    assert [row.uid for row in undisturbed] == read_table(split, Row)["uid"].to_pylist()
    assert len({row.text for row in undisturbed}) == 8
    assert {(row.engine, row.constrained, row.finish_reason) for row in undisturbed} == {("openai", False, "stop")}
    assert {(row.prompt_tokens, row.new_tokens) for row in undisturbed} == {(7, 3)}
    assert len({row.prompt_hash for row in undisturbed}) == 8
    assert len({row.settings for row in undisturbed}) == 1


def test_a_request_is_greedy_and_shows_the_images_in_order_before_the_question(split, root, tmp_path):
    with ChatServer() as server:
        run(split, root, server, tmp_path / "o", shard="1-of-8", prompt=Prompt(system="Be brief."), retries=0)
        [body] = server.bodies
    assert {key: body[key] for key in ("model", "temperature", "seed", "max_tokens")} == {
        "model": "base",
        "temperature": 0.0,
        "seed": 0,
        "max_tokens": 6,
    }
    system, turn = body["messages"]
    assert system == {"role": "system", "content": [{"type": "text", "text": "Be brief."}]}
    *images, question = turn["content"]
    assert question == {"type": "text", "text": "How many?"}
    shown = [base64.b64decode(p["image_url"]["url"].removeprefix("data:image/png;base64,")) for p in images]
    assert shown == [(root / "0.png").read_bytes(), (root / "1.png").read_bytes()]


@pytest.mark.parametrize(
    ("name", "mode", "options", "media"),
    [
        ("grey.jpg", "L", {}, "image/jpeg"),
        ("colour.webp", "RGB", {}, "image/webp"),
        ("turned.jpg", "RGB", {"orientation": 6}, "image/png"),
        ("deep.png", "I;16", {}, "image/png"),
        ("clear.png", "RGBA", {}, "image/png"),
        ("scan.bmp", "RGB", {}, "image/png"),
        ("palette.gif", "P", {}, "image/png"),
        ("print.jpg", "CMYK", {}, "image/png"),
    ],
)
def test_a_server_sees_the_pixels_that_training_sees(tmp_path, name, mode, options, media):
    image = Image.linear_gradient("L").resize((40, 30))
    if mode == "I;16":
        image = Image.frombytes("I;16", (40, 30), bytes(range(240)) * 10)
    image = image.convert(mode) if image.mode != mode else image
    exif = Image.Exif()
    if "orientation" in options:
        exif[0x0112] = options["orientation"]
    image.save(tmp_path / name, **({"exif": exif} if len(exif) else {}))
    head, _, data = data_url(tmp_path, name).partition(";base64,")
    assert head == f"data:{media}"
    plain = Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")  # as a server decodes it
    trained = decode_image((tmp_path / name).read_bytes(), name)
    assert (plain.size, plain.tobytes()) == (trained.size, trained.tobytes())


def test_an_image_in_a_zip_is_sent_as_it_is(root, tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.write(root / "0.png", "scans/0.png")
    assert data_url(tmp_path, "all.zip!scans/0.png") == data_url(root, "0.png")


def test_as_many_requests_are_under_way_as_there_are_workers(split, root, tmp_path):
    with ChatServer() as server:
        server.pause = 0.2
        run(split, root, server, tmp_path / "all.parquet", workers=4)
        assert server.most_at_once == 4


def test_shards_gathered_are_the_whole(split, root, tmp_path, undisturbed):
    with ChatServer() as server:
        shards = [tmp_path / f"{number}.parquet" for number in range(3)]
        for number, shard in enumerate(shards):
            run(split, root, server, shard, shard=f"{number + 1}-of-3")
    gather(split=split, shards=shards, system="there", out=tmp_path / "all.parquet")
    assert read_rows(tmp_path / "all.parquet", Prediction) == undisturbed


def test_how_an_answer_ended_is_kept_as_the_server_says(split, root, tmp_path):
    endings = cycle([Reply("cut", "length"), Reply(None, "content_filter")])
    with ChatServer(lambda _: next(endings)) as server:
        rows = run(split, root, server, tmp_path / "all.parquet", workers=1)
    assert Counter((row.text, row.finish_reason) for row in rows) == {("cut", "length"): 4, ("", "content_filter"): 4}


def test_the_served_model_gives_the_texts_that_it_gives_here(split, root, tiny, features, tmp_path):
    store = tmp_path / "store"
    answer(
        split=split,
        model=tiny,
        root=root,
        features=features,
        members=[GroupMember(system="there")],
        max_new_tokens=LIMITS,
        batch=1,
        threads=1,
        store=store,
        out=tmp_path / "here",
    )
    here = read_rows(tmp_path / "here", Prediction)
    loaded = load(tiny)
    seen = {}

    def vision(images):
        pixels = loaded.family.pixels(loaded.processor, [seen[image.sha256] for image in images])
        return loaded.family.pooled_features(loaded.base, pixels)

    engine = TransformersEngine(loaded, vision, 1)

    def generate(body):
        chat, images = [], []
        for turn in body["messages"]:
            parts = []
            for part in turn["content"]:
                if part["type"] == "image_url":
                    data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                    images.append(RequestImage(sha256_of(data), ""))
                    seen[sha256_of(data)] = decode_image(data, "a request's image")
                    part = {"type": "image"}
                parts.append(part)
            chat.append(turn | {"content": parts})
        request = Request("row", chat, tuple(images), body["max_tokens"])
        [[response]] = engine.answers([request])
        return Reply(response.text, response.finish_reason, response.prompt_tokens, response.new_tokens)

    with ChatServer(generate) as server:
        there = run(split, root, server, tmp_path / "there", workers=1)
    same = attrgetter("uid", "text", "finish_reason", "prompt_tokens", "new_tokens")
    assert [same(row) for row in there] == [same(row) for row in here]


# A server that is unwell


@pytest.mark.parametrize("name", FAULTS)
def test_a_passing_fault_changes_no_answer(split, root, tmp_path, undisturbed, name):
    with ChatServer() as server:
        server.faults.extend([FAULTS[name]] * 3)
        timeout = 0.3 if FAULTS[name].pause or FAULTS[name].drip else 10
        assert run(split, root, server, tmp_path / "all.parquet", timeout=timeout) == undisturbed
        assert len(server.bodies) == 8 + 3


def test_all_faults_at_once_change_no_answer(split, root, tmp_path, undisturbed):
    with ChatServer() as server:
        server.faults.extend([*FAULTS.values()] * 2)
        assert run(split, root, server, tmp_path / "all.parquet", timeout=0.5, retries=24) == undisturbed
        assert len(server.bodies) == 8 + 2 * len(FAULTS)


@pytest.mark.parametrize("how", ["seconds", "date"])
def test_retry_after_is_honoured(split, root, tmp_path, how):
    retry_after = "1" if how == "seconds" else formatdate(time.time() + 2, usegmt=True)
    with ChatServer() as server:
        server.faults.append(Fault(429, "", {"Retry-After": retry_after}))
        run(split, root, server, tmp_path / "all.parquet", shard="1-of-8", workers=1)
        first, second = server.times
    assert second - first >= 0.9


def test_pauses_grow(monkeypatch, split, root, tmp_path):
    monkeypatch.setattr(openai_server, "PAUSE", 0.1)
    with ChatServer() as server:
        server.faults.extend([Fault(500)] * 3)
        run(split, root, server, tmp_path / "all.parquet", shard="1-of-8", workers=1)
        pauses = [after - before for before, after in zip(server.times, server.times[1:], strict=False)]
    assert all(0.05 * 2**n <= pause <= 0.15 * 2**n + 0.3 for n, pause in enumerate(pauses))


def test_a_row_that_fails_for_good_stops_the_step_and_the_next_run_goes_on(split, root, tmp_path, undisturbed):
    shown = base64.b64encode((root / "3.png").read_bytes()).decode()

    def refuse_one(body):
        urls = [part["image_url"]["url"] for part in body["messages"][-1]["content"] if part["type"] == "image_url"]
        return Reply("x", "tool_calls") if urls == [f"data:image/png;base64,{shown}"] else echo(body)

    with ChatServer(refuse_one) as server:
        with pytest.raises(Refused, match=r"row row/3 has no answer, and those before .*'tool_calls'"):
            run(split, root, server, tmp_path / "all.parquet", workers=2)
        assert not (tmp_path / "all.parquet").exists()
        server.answer = echo
        assert run(split, root, server, tmp_path / "all.parquet", workers=2) == undisturbed
        assert set(server.answered.values()) == {1, 2} and Counter(server.answered.values())[2] == 1


def test_those_under_way_are_cached_when_a_row_fails(split, root, tmp_path):
    with ChatServer() as server:
        refused = Fault(400, '{"error": {"message": "too long for max_model_len"}}')
        server.faults.extend([refused, *[Fault(pause=0.5)] * 3])
        with pytest.raises(Refused, match=r"answered 400: too long for max_model_len; correct what the server names"):
            run(split, root, server, tmp_path / "all.parquet", workers=4)
        stored = [line for file in tmp_path.rglob("*.jsonl") for line in file.read_text().splitlines()]
        assert len(stored) == 3 and len(server.bodies) == 4  # none is begun after the failure


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (400, "answered 400: told so; correct what the server names"),
        (401, "answered 401: told so; set `token_variable`"),
        (403, "answered 403: told so; use a token that may call this model"),
        (404, "answered 404: told so; check the `url`, which ends in /v1"),
        (307, "answered 307: told so; correct what the server names"),
    ],
)
def test_what_no_further_try_mends_is_asked_once(split, root, tmp_path, status, sentence):
    with ChatServer() as server:
        server.faults.extend([Fault(status, '{"error": {"message": "told so"}}')] * 9)
        with pytest.raises(Refused) as refused:
            run(split, root, server, tmp_path / "all.parquet", workers=1)
        assert sentence in str(refused.value) and server.url in str(refused.value)
        assert len(server.bodies) == 1


def test_a_server_that_stays_unwell_is_given_up_after_the_retries(split, root, tmp_path):
    with ChatServer() as server:
        server.faults.extend([Fault(503, '{"error": "loading"}')] * 99)
        with pytest.raises(
            Refused, match=r"chat/completions was asked 3 times and, the last time, answered 503: loading"
        ):
            run(split, root, server, tmp_path / "all.parquet", workers=1, retries=2)
        assert len(server.bodies) == 3


def test_nobody_at_the_address_is_one_sentence_at_once(split, root, tmp_path):
    with ChatServer() as gone:
        pass
    started = time.monotonic()
    with pytest.raises(ServerFault, match=r"nobody answers at http://127.0.0.1:\d+/v1 .*; start it, or correct `url`"):
        run(split, root, gone, tmp_path / "all.parquet", retries=9)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("models", "sentence"),
    [
        (
            [{"id": "other"}, {"id": "more"}],
            r"serves more, other, and not 'base': start it with `--served-model-name base`, or",
        ),
        ([], r"serves nothing, and not 'base'"),
        ([{"id": "base", "parent": "google/medgemma"}], r"lists 'base' as an adapter: name the base model"),
    ],
)
def test_another_model_is_found_out_before_the_first_request(split, root, tmp_path, models, sentence):
    with ChatServer(models=models) as server:
        with pytest.raises(Refused, match=sentence):
            run(split, root, server, tmp_path / "all.parquet")
        assert not server.bodies


def test_an_adapter_is_found_out_and_its_weights_are_part_of_the_identity(split, root, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    with ChatServer() as server:

        def run_with(weights):
            (adapter / "adapter_model.safetensors").write_bytes(weights)
            options = {"adapter": adapter, "served_as": "tuned", "system": "t", "retries": 0, "workers": 2}
            return run(split, root, server, tmp_path / "all.parquet", **options)

        server.models = [{"id": "base", "parent": None}]
        with pytest.raises(
            Refused, match=rf"serves base, and not 'tuned': start it with `--lora-modules tuned={adapter}`"
        ):
            run_with(b"one")
        server.models.append({"id": "tuned", "parent": None})
        with pytest.raises(Refused, match="lists 'tuned' as a base model: name its adapter in `served_as`"):
            run_with(b"one")
        (tmp_path / "old").mkdir()
        (tmp_path / "old/adapter_model.safetensors").write_bytes(b"old")
        server.models = [{"id": "tuned", "parent": "base", "root": str(tmp_path / "old")}]
        with pytest.raises(Refused, match=r"answers for 'tuned' with .*old, whose weights are not those of"):
            run_with(b"one")
        server.models[0]["root"] = str(adapter)
        server.faults.extend([Fault(), Fault(), Fault(400)])
        with pytest.raises(Refused):
            run_with(b"one")
        before = len(server.bodies)
        run_with(b"two")
        assert len(server.bodies) == before + 8


# Answers that are none


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"content": None, "reasoning_content": "First, I count"}, "gave `reasoning_content` and no answer .*'length'"),
        ({"content": "", "reasoning": "First, I count"}, "gave `reasoning` and no answer .*First, I count; raise"),
        ({"content": None, "refusal": "I cannot help"}, "gave `refusal` and no answer .*I cannot help; start the"),
        ({"content": None, "tool_calls": [{"function": {"name": "count"}}]}, "gave `tool_calls` .*count"),
        ({"tool_calls": [{"function": {"name": "count"}}]}, "gave `tool_calls` .*count"),
    ],
    ids=["reasoning", "another name of it", "a refusal", "a tool call", "a tool call without a content"],
)
def test_what_stands_in_an_answers_place_fails_the_row_by_its_name(split, root, tmp_path, message, words):
    with ChatServer() as server:
        server.faults.append(Fault(200, json.dumps({"choices": [{"message": message, "finish_reason": "length"}]})))
        with pytest.raises(Refused, match=rf"row row/0 has no answer.*{words}"):
            run(split, root, server, tmp_path / "all.parquet", workers=1)
        assert len(server.bodies) == 1 and not (tmp_path / "all.parquet").exists()


def test_reasoning_beside_an_answer_is_no_fault(split, root, tmp_path, undisturbed):
    def reason(body):
        return Reply(echo(body).text, more={"reasoning_content": "First", "refusal": None, "tool_calls": []})

    with ChatServer(reason) as server:
        assert run(split, root, server, tmp_path / "all.parquet") == undisturbed


def test_an_answer_of_another_model_is_refused(split, root, tmp_path):
    with ChatServer(lambda body: Reply("3", model="other")) as server:
        server.models.append({"id": "other", "root": "/somewhere"})
        with pytest.raises(Refused, match="was asked for 'base' and answered as 'other': name the model as the server"):
            run(split, root, server, tmp_path / "all.parquet", workers=1)
        assert len(server.bodies) == 1


@pytest.mark.parametrize("name", ["/models/medgemma", "medgemma"], ids=["its root", "another name of its root"])
def test_a_server_may_answer_under_the_root_of_the_model(split, root, tmp_path, name):
    with ChatServer(lambda body: Reply("3", model=name)) as server:
        server.models = [{"id": "base", "root": "/models/medgemma"}, {"id": "medgemma", "root": "/models/medgemma"}]
        assert {row.text for row in run(split, root, server, tmp_path / "all.parquet")} == {"3"}


@pytest.mark.parametrize("count", [True, -1, 10**12, 7.0, "7", None, [7]])
def test_a_count_that_counts_nothing_is_none(split, root, tmp_path, count):
    with ChatServer(lambda body: Reply("3", prompt_tokens=count, new_tokens=2)) as server:
        rows = run(split, root, server, tmp_path / "all.parquet")
    assert {(row.prompt_tokens, row.new_tokens) for row in rows} == {(None, 2)}


@pytest.mark.parametrize("packed", [False, True], ids=["as it is", "as a bomb of gzip"])
def test_a_body_is_read_up_to_a_limit(split, root, tmp_path, monkeypatch, packed):
    monkeypatch.setattr(bodies, "MOST_BYTES", 1 << 20)
    body = b" " * (50 << 20) if packed else b" " * (2 << 20)
    fault = Fault(200, gzip.compress(body) if packed else body, {"Content-Encoding": "gzip"} if packed else {})
    with ChatServer() as server:
        server.faults.append(fault)
        tracemalloc.start()
        with pytest.raises(Refused, match="chat/completions answered with more than 1 MiB"):
            run(split, root, server, tmp_path / "all.parquet", workers=1)
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
        tracemalloc.stop()
        assert len(server.bodies) == 1


def test_a_packed_answer_is_read_though_none_is_asked_for(split, root, tmp_path, undisturbed):
    reply = {"choices": [{"message": {"content": "3"}, "finish_reason": "stop"}]}
    with ChatServer() as server:
        server.faults.append(Fault(200, gzip.compress(json.dumps(reply).encode()), {"Content-Encoding": "gzip"}))
        rows = run(split, root, server, tmp_path / "all.parquet", workers=1)
        assert (rows[0].text, rows[1:]) == ("3", undisturbed[1:])
        server.faults.append(Fault(200, b"?", {"Content-Encoding": "br"}))
        with pytest.raises(Refused, match="answered in the encoding 'br', which was not asked for"):
            run(split, root, server, tmp_path / "more.parquet", workers=1)


# Proxies


def test_a_socks_proxy_without_its_library_is_one_sentence(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://someone:secret@127.0.0.1:9")
    with pytest.raises(
        Refused, match=r"ALL_PROXY names a SOCKS proxy, which needs `pip install 'httpx2\[socks\]'`"
    ) as r:
        OpenAIServer("http://127.0.0.1:9/v1", None, 1, 0, 1)
    assert "secret" not in str(r.value)


@pytest.mark.parametrize("address", ["ftp://127.0.0.1:9", "http://127.0.0.1:port"])
def test_an_address_that_is_no_proxys_is_one_sentence(monkeypatch, address):
    monkeypatch.setenv("HTTP_PROXY", address)
    with pytest.raises(Refused, match="HTTP_PROXY is not a valid address of a proxy: expected http://HOST:PORT"):
        OpenAIServer("http://127.0.0.1:9/v1", None, 1, 0, 1)


@pytest.mark.parametrize("listed", ["127.0.0.1", "localhost,127.0.0.0/8", "*"])
def test_an_address_in_no_proxy_is_reached_without_one(split, root, tmp_path, monkeypatch, undisturbed, listed):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", listed)
    with ChatServer() as server:
        assert run(split, root, server, tmp_path / "all.parquet") == undisturbed


def test_a_proxy_that_answers_in_the_servers_place_is_named(split, root, tmp_path, monkeypatch):
    with ChatServer() as server:
        server.faults.append(Fault(503, "Service Unavailable", {"Via": "1.1 squid"}))
        with pytest.raises(Refused, match=r"503: Service Unavailable \(a proxy answered .* its header Via\)"):
            run(split, root, server, tmp_path / "all.parquet", workers=1, retries=0)
    with ChatServer() as proxy:
        proxy.faults.append(Fault(503, "Service Unavailable"))
        monkeypatch.setenv("HTTP_PROXY", proxy.url.removesuffix("/v1"))
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        with (
            pytest.raises(ServerFault, match=r"503: Service Unavailable \(a proxy may have answered.*in NO_PROXY"),
            OpenAIServer("http://models.invalid/v1", None, 5, 0, 1) as server,
        ):
            server.complete({"model": "base", "messages": []})


# Tokens and kills


def test_the_token_comes_from_the_environment_and_shows_nowhere(split, root, tmp_path):
    secret = "sk-Zq81hVw0"
    environment = {**os.environ, "LAB_TOKEN": secret, "PYTHONPATH": str(ROOT)}
    with ChatServer(token=secret) as server:
        more = ("--workers", 2, "--token-variable", "LAB_TOKEN")

        def step(**changes):
            return subprocess.run(
                command(split, root, server, tmp_path / "all.parquet", *more),
                capture_output=True,
                text=True,
                env=environment | changes,
            )

        unset = step(LAB_TOKEN="")
        assert unset.returncode == 1 and "the environment variable LAB_TOKEN is not set" in unset.stderr
        pasted = step(LAB_TOKEN="sk-one\nsk-two")
        assert pasted.returncode == 1 and "LAB_TOKEN holds more than a token" in pasted.stderr
        assert "sk-one" not in pasted.stderr
        wrong = step(LAB_TOKEN="sk-other")
        assert wrong.returncode == 1 and "answered 401: Bearer (token) is not welcome" in wrong.stderr
        assert "sk-other" not in wrong.stderr + wrong.stdout
        server.faults.append(Fault(400, json.dumps({"error": {"message": f"bad request of {secret}"}})))
        refused = step()
        assert refused.returncode == 1 and "Traceback" not in refused.stderr
        done = step()
        assert done.returncode == 0, done.stderr
        output = "".join(run.stdout + run.stderr for run in (unset, wrong, refused, done))
    assert secret not in output
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written and not any(secret.encode() in path.read_bytes() for path in written)


def questions(bodies):
    return {body["messages"][-1]["content"][-1]["text"] for body in bodies}


@pytest.mark.slow
def test_a_killed_process_asks_no_finished_row_again(root, tmp_path):
    rows = [make_row(root, n, question=f"How many of {n}?") for n in range(60)]
    write_rows(tmp_path / "rows.parquet", rows, Row)
    requests = requests_of(rows, Prompt(), LIMITS)
    question_of = {key_of(request): row.question for request, row in zip(requests, rows, strict=True)}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    out = tmp_path / "all.parquet"
    with ChatServer() as server:
        server.pause = 0.05
        started = command(tmp_path / "rows.parquet", root, server, out, "--workers", 3)
        finished: set[str] = set()
        for enough in (10, 25, 40):
            before = len(server.bodies)
            asking = subprocess.Popen(started, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while len(server.answered) < enough and asking.poll() is None:
                time.sleep(0.01)
            asking.send_signal(signal.SIGKILL)
            asking.wait()
            assert not finished & questions(server.bodies[before:])
            lines = [line for file in tmp_path.rglob("*.jsonl") for line in file.read_bytes().splitlines(keepends=True)]
            finished = {question_of[json.loads(line)["key"]] for line in lines if line.endswith(b"\n")}
            assert len(finished) >= enough - 3 and not out.exists()
        before = len(server.bodies)
        subprocess.run(started, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert not finished & questions(server.bodies[before:])
        assert len(server.bodies) <= 60 + 3 * 3  # what was under way at each kill
    assert [row.uid for row in read_rows(out, Prediction)] == [row.uid for row in rows]
