"""A hub on localhost that has repositories of weights to download: real HTTP, as the hub's client speaks it."""

import hashlib
import json
import re
from collections.abc import Mapping

from tests.loopback import LoopbackServer, QuietHandler

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class AdapterHub(LoopbackServer):
    """`with AdapterHub({"owner/name": {"file": bytes}}) as hub: …`; all repositories are at COMMIT, which is `main`."""

    def __init__(self, repositories: Mapping[str, Mapping[str, bytes]], gated: bool = False) -> None:
        self.repositories = repositories
        self.gated = gated
        self.served: list[str] = []  # names of files whose bytes were sent
        super().__init__()

    def _handler(hub) -> type[QuietHandler]:
        class Handler(QuietHandler):
            def do_HEAD(self) -> None:
                self._answer()

            do_GET = do_HEAD

            def _answer(self) -> None:
                path = self.path.partition("?")[0]
                about = re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)", path)
                listing = re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/[^/]+", path)
                file = re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path)
                match = about or listing or file
                files = hub.repositories.get(match[1]) if match else None
                if files is None:
                    return self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
                if about:
                    if about[2] not in ("main", COMMIT):
                        return self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
                    names = [{"rfilename": name} for name in files]
                    return self._send(200, json.dumps({"id": match[1], "sha": COMMIT, "siblings": names}).encode())
                if listing:
                    entries = [{"type": "file", "path": n, "size": len(d), "oid": _etag(d)} for n, d in files.items()]
                    return self._send(200, json.dumps(entries).encode())
                if hub.gated:
                    return self._send(401, b"", {"X-Error-Code": "GatedRepo"})
                if file[3] not in files:
                    return self._send(404, b"", {"X-Error-Code": "EntryNotFound"})
                data = files[file[3]]
                if self.command == "GET":
                    hub.served.append(file[3])
                return self._send(200, data, {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": COMMIT})

            def _send(self, status: int, data: bytes, headers: Mapping[str, str] | None = None) -> None:
                self.send_response(status)
                for name, text in {"Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, text)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data)

        return Handler


def _etag(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()
