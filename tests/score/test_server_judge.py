"""A judge behind an OpenAI-compatible server, here a small one of our own."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.chat_server import ChatServer, Fault, Reply
from tests.score.test_judging import reply
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.judges import ServerJudge
from workflow_scripts.engines.server import client as openai_server
from workflow_scripts.judges import upstream
from workflow_scripts.judges.backends.server import Server
from workflow_scripts.judges.judgements import Pair, Store, judge_pairs

pytestmark = pytest.mark.skipif(
    upstream.importlib.util.find_spec("CRIMSON") is None, reason="needs `pip install --no-deps crimson-score`"
)


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(openai_server, "PAUSE", 0.01)


@pytest.fixture
def server():
    """A server that answers by script and remembers the requests."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append((self.path, self.headers.get("Authorization"), body))
            if "Broken" in body["messages"][-1]["content"]:
                self.send_error(500)
                return
            text = json.dumps({"choices": [{"message": {"content": reply()}}]}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/v1", requests
    running.shutdown()


def judge(url: str, **changes) -> ServerJudge:
    return ServerJudge(metric="crimson", url=url, model="judge", revision="1", timeout=10, **changes)


def test_replies_come_in_the_order_of_the_pairs_and_a_failed_request_gives_none(server):
    url, requests = server
    pairs = [Pair("Pneumothorax.", "Fine."), Pair("Broken.", "Fine."), Pair("Effusion.", "Fine.")]
    answers = dict(Server(judge(url)).ask(pairs, 0))
    assert [answers[pair] and answers[pair].status for pair in pairs] == ["valid", None, "valid"]
    path, token, body = requests[0]
    assert path == "/v1/chat/completions"
    assert token is None
    assert (body["temperature"], body["seed"]) == (0.0, 42)
    assert body["response_format"] == {"type": "json_object"}


def test_a_server_that_is_not_there_gives_no_reply():
    assert list(Server(judge("http://127.0.0.1:9/v1")).ask([Pair("a", "b")], 0)) == [(Pair("a", "b"), None)]


def test_the_token_comes_from_the_environment_and_stays_out_of_the_identity(server, monkeypatch):
    url, requests = server
    with pytest.raises(Refused, match="JUDGE_TOKEN"):
        Server(judge(url, token_variable="JUDGE_TOKEN"))
    monkeypatch.setenv("JUDGE_TOKEN", "secret")
    backend = Server(judge(url, token_variable="JUDGE_TOKEN"))
    list(backend.ask([Pair("a", "b")], 0))
    assert requests[0][1] == "Bearer secret"
    assert "secret" not in json.dumps(backend.identity)


def test_a_request_that_a_further_try_mends_is_a_reply():
    faults = [Fault(503), Fault(429, "", {"Retry-After": "0"}), Fault(cut=10), Fault(200, "<html>"), Fault(500)]
    with ChatServer(lambda _: Reply(reply())) as server:
        server.faults.extend(faults)
        answers = list(Server(judge(server.url)).ask([Pair("a", "b"), Pair("c", "d"), Pair("e", "f")], 0))
    assert [answer.status for _, answer in answers] == ["valid"] * 3
    assert len(server.bodies) == 3 + len(faults)


def test_a_server_that_gives_no_reply_at_all_is_asked_no_more_and_named(tmp_path, capsys):
    backend = Server(judge("http://127.0.0.1:9/v1"))
    pairs = [Pair(f"{n}", "b") for n in range(600)]
    judgements = judge_pairs(pairs, Store(tmp_path, backend.identity), backend, retries=2)
    reasons = {judgement.reason for judgement in judgements.values()}
    assert any(
        reason.startswith("the judge died: http://127.0.0.1:9/v1/chat/completions was asked") for reason in reasons
    )
    assert {judgement.status for judgement in judgements.values()} == {"invalid"}
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert capsys.readouterr().err.count("no reply: ") == 1
