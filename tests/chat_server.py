"""An OpenAI-compatible server on localhost: real HTTP, faults on demand, and a record of what it was asked."""

import json
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.loopback import LoopbackServer, QuietHandler
from workflow_scripts.core.files import sha256_of


@dataclass
class Fault:
    """What to do to one request: pause, answer with a status or body, drop the connection after `cut` bytes, or pause
    before each byte."""

    status: int = 200
    body: str | bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    pause: float = 0.0
    drip: float = 0.0


@dataclass
class Reply:
    """What the model says; `more` are further fields of its message, `model` the name that it answers under."""

    text: str | None
    finish_reason: str = "stop"
    prompt_tokens: object = 7
    new_tokens: object = 3
    more: dict[str, object] = field(default_factory=dict)
    model: str | None = None


def echo(body: dict) -> Reply:
    """A deterministic answer that differs with every message, image and model."""
    return Reply(sha256_of(json.dumps([body["model"], body["messages"]]).encode())[:20])


class ChatServer(LoopbackServer):
    """`with ChatServer(…) as server: …`

    `faults` are taken one a chat request, first to last; `about` says what a request is about, to count by.
    """

    def __init__(
        self,
        answer: Callable[[dict], Reply] = echo,
        *,
        models: Iterable[dict] = ({"id": "base", "parent": None},),
        token: str | None = None,
    ) -> None:
        self.answer = answer
        self.models = list(models)
        self.token = token
        self.faults: deque[Fault] = deque()
        self.pause = 0.0
        self.bodies: list[dict] = []
        self.times: list[float] = []
        self.answered: Counter[str] = Counter()
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        super().__init__()

    @property
    def url(self) -> str:
        return f"{self.endpoint}/v1"

    def _handler(chat) -> type[BaseHTTPRequestHandler]:
        class Handler(QuietHandler):
            def do_GET(self) -> None:
                if self._known():
                    self._send(200, json.dumps({"object": "list", "data": chat.models}).encode())

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self._known():
                    return
                with chat._lock:
                    chat.bodies.append(body)
                    chat.times.append(time.monotonic())
                    chat._at_once += 1
                    chat.most_at_once = max(chat.most_at_once, chat._at_once)
                    fault = chat.faults.popleft() if chat.faults else Fault()
                try:
                    time.sleep(chat.pause + fault.pause)
                    if fault.status != 200 or fault.body is not None:
                        body = fault.body or ""
                        self._send(fault.status, body.encode() if isinstance(body, str) else body, fault)
                        return
                    reply = chat.answer(body)
                    message = {"content": reply.text, **reply.more}
                    answer = {
                        "model": body["model"] if reply.model is None else reply.model,
                        "choices": [{"message": message, "finish_reason": reply.finish_reason}],
                        "usage": {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.new_tokens},
                    }
                    self._send(200, json.dumps(answer).encode(), fault)
                    if fault.cut is None:
                        with chat._lock:
                            chat.answered[json.dumps(body["messages"])] += 1
                finally:
                    with chat._lock:
                        chat._at_once -= 1

            def _known(self) -> bool:
                sent = self.headers.get("Authorization")
                if chat.token and sent != f"Bearer {chat.token}":
                    self._send(401, json.dumps({"error": {"message": f"{sent} is not welcome"}}).encode())
                    return False
                return True

            def _send(self, status: int, data: bytes, fault: Fault | None = None) -> None:
                try:
                    self.send_response(status)
                    for name, value in (fault.headers if fault else {}).items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(data)))
                    self.end_headers()
                    if fault and fault.cut is not None:
                        self.wfile.write(data[: fault.cut])
                        self.wfile.flush()
                        self.connection.shutdown(socket.SHUT_RDWR)
                        self.close_connection = True
                        return
                    for part in [data] if not fault or not fault.drip else [bytes([byte]) for byte in data]:
                        time.sleep(fault.drip if fault else 0)
                        self.wfile.write(part)
                except (BrokenPipeError, ConnectionResetError):  # the client went away, as some tests want
                    self.close_connection = True

        return Handler
