"""A server on localhost for tests: real HTTP on a free port, from the beginning of a `with` block to its end."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self


class QuietHandler(BaseHTTPRequestHandler):
    """Speaks HTTP/1.1 and prints nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass


class LoopbackServer:
    """`with SomeServer(…) as server: …`; a subclass's `_handler` says how it answers, each request in a thread."""

    def __init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        raise NotImplementedError

    @property
    def address(self) -> tuple[str, int]:
        """Host and port."""
        return "127.0.0.1", self._server.server_address[1]

    @property
    def endpoint(self) -> str:
        """The server's address; of a hub, what HF_ENDPOINT is to be."""
        return "http://{}:{}".format(*self.address)

    def __enter__(self) -> Self:
        # It looks for its end every half second by default: each `with` block would wait a quarter on average.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
