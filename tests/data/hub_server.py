"""A hub on localhost: the few endpoints that a download needs, over real HTTP, with faults on demand."""

import hashlib
import json
import re
import socket
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.loopback import LoopbackServer, QuietHandler

REPO = "toy/flare"
REVISION = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Fault:
    """What to do to one answer: a status, cut the connection after `cut` bytes, bend one byte, or send more."""

    status: int | None = None
    cut: int | None = None
    damage: bool = False
    more: int = 0  # bytes that follow the file
    headers: dict[str, str] = field(default_factory=dict)


class Hub(LoopbackServer):
    """`with Hub(files) as hub: …`; faults are taken from `hub.faults[path]` one a request, first to last."""

    def __init__(
        self,
        files: dict[str, bytes],
        *,
        token: str | None = None,
        ranges: bool = True,
        others: dict[str, tuple[str, dict[str, bytes]]] | None = None,
    ) -> None:
        """`others`: revision and files of further repositories, by their names."""
        self.files = files
        self.others = others or {}
        self.token = token
        self.ranges = ranges
        self.pause = 0.0  # seconds between blocks of 16 KiB
        self.revision = REVISION
        self.faults: dict[str, list[Fault]] = {}
        self.sent = 0  # bytes of files
        self.seen: list[tuple[str, str, str | None]] = []  # method, path, Range
        super().__init__()

    def _handler(hub) -> type[BaseHTTPRequestHandler]:
        def of_repository(name: str) -> tuple[str, dict[str, bytes]] | None:
            return (hub.revision, hub.files) if name == REPO else hub.others.get(name)

        class Handler(QuietHandler):
            def do_GET(self) -> None:
                hub.seen.append((self.command, self.path, self.headers.get("Range")))
                path = self.path.partition("?")[0]
                file = re.fullmatch(r"/datasets/([^/]+/[^/]+)/resolve/[^/]+/(.+)", path)
                fault = next(iter(hub.faults.get(file.group(2) if file else "api", [])), None)
                if fault:
                    hub.faults[file.group(2) if file else "api"].pop(0)
                if fault and fault.status:
                    return self._refuse(fault.status, fault.headers)
                sent = self.headers.get("Authorization")
                if file and hub.token and sent != f"Bearer {hub.token}":
                    if sent:
                        return self._refuse(401, {"X-Error-Message": "Invalid credentials in Authorization header"})
                    return self._refuse(401, {"X-Error-Code": "GatedRepo"})
                call = file or re.fullmatch(r"/api/datasets/([^/]+/[^/]+)/(revision|tree)/([^/]+)", path)
                repository = of_repository(call.group(1)) if call else None
                if repository is None:
                    return self._refuse(404, {"X-Error-Code": "RepoNotFound"})
                revision, files = repository
                if file:
                    return self._file(files[file.group(2)], fault)
                if call.group(3) not in ("main", revision):
                    return self._refuse(404, {"X-Error-Code": "RevisionNotFound"})
                if call.group(2) == "revision":
                    return self._json({"id": call.group(1), "sha": revision, "siblings": []})
                return self._json([_entry(name, data) for name, data in files.items()])

            def _refuse(self, status: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def _json(self, value: object) -> None:
                data = json.dumps(value).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def _file(self, data: bytes, fault: Fault | None) -> None:
                requested = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
                start = int(requested.group(1)) if requested and hub.ranges else 0
                if start and start >= len(data):
                    return self._refuse(416, {})
                body = data[start:]
                if fault and fault.damage:
                    body = bytes([body[0] ^ 1]) + body[1:]
                body += bytes(fault.more if fault else 0)
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                for i in range(0, len(body), 16384):
                    if fault and fault.cut is not None and i >= fault.cut:
                        self.connection.shutdown(socket.SHUT_RDWR)
                        self.close_connection = True
                        return None
                    self.wfile.write(body[i : i + 16384])
                    hub.sent += len(body[i : i + 16384])
                    if hub.pause:
                        time.sleep(hub.pause)
                return None

        return Handler


def _entry(name: str, data: bytes) -> dict:
    git = hashlib.sha1(f"blob {len(data)}\0".encode() + data, usedforsecurity=False).hexdigest()
    entry = {"type": "file", "path": name, "size": len(data), "oid": git}
    if not name.endswith(".json"):  # the hub keeps text in git and the rest in LFS
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return entry
