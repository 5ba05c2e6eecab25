"""Servers that are unwell, answer something else, or stand behind a proxy: no answer changes, and no row is lost."""

import base64
import gzip
import json
import time
import tracemalloc
from collections import Counter
from email.utils import formatdate

import pytest

from tests.chat_server import ChatServer, Fault, Reply, echo
from tests.infer.asking import run
from workflow_scripts.core.command import Refused
from workflow_scripts.engines.server import bodies
from workflow_scripts.engines.server import client as openai_server
from workflow_scripts.engines.server.client import OpenAIServer, ServerFault

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
pytestmark = pytest.mark.usefixtures("short_pauses")


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
