"""A hub on localhost that takes uploads: the endpoints that one commit of a model needs, over real HTTP."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from tests.loopback import LoopbackServer, QuietHandler


@dataclass
class Repository:
    """What the hub has of a repository."""

    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)  # messages


class ModelHub(LoopbackServer):
    """`with ModelHub("hf_token") as hub: …`; `hub.repositories` is what it has."""

    def __init__(self, token: str) -> None:
        self.token = token
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}  # large files by SHA-256, uploaded but not yet of a commit
        self.seen: list[tuple[str, str]] = []  # method, path
        self.quotes = False  # whether refusals quote the token
        self.invalid_card = False
        super().__init__()

    def _handler(hub) -> type[BaseHTTPRequestHandler]:
        class Handler(QuietHandler):
            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

            do_PUT = do_POST

            def _answer(self, body: bytes) -> None:
                path = self.path.partition("?")[0]
                hub.seen.append((self.command, path))
                if upload := re.fullmatch(r"/upload/([0-9a-f]{64})", path):
                    if hashlib.sha256(body).hexdigest() != upload[1]:
                        return self._refuse(400, "not the bytes that were announced")
                    hub.objects[upload[1]] = body
                    return self._json({})
                if self.headers.get("Authorization") != f"Bearer {hub.token}":
                    said = self.headers.get("Authorization") if hub.quotes else "Invalid credentials"
                    return self._refuse(401, f"{said} in Authorization header")
                return self._authorised(path, body)

            def _authorised(self, path: str, body: bytes) -> None:
                if path == "/api/repos/create":
                    wanted = json.loads(body)
                    private = wanted.get("visibility") == "private" or bool(wanted.get("private"))
                    name = f"{wanted['organization']}/{wanted['name']}"
                    hub.repositories[name] = Repository(private, {".gitattributes": b""})
                    return self._json({"url": f"{hub.endpoint}/{name}"})
                if path == "/api/validate-yaml":
                    if hub.invalid_card:
                        return self._json({"errors": [{"message": '"license" must be known'}]}, 400)
                    return self._json({"errors": [], "warnings": []})
                match = re.fullmatch(r"/(?:api/models/)?([^/]+/[^/.]+)(?:\.git)?(/.*)?", path)
                name, rest = (match[1], match[2] or "") if match else ("", "")
                repository = hub.repositories.get(name)
                if repository is None:
                    return self._refuse(404, "Repository not found", {"X-Error-Code": "RepoNotFound"})
                if rest == "":
                    files = [{"rfilename": file} for file in repository.files]
                    return self._json({"id": name, "private": repository.private, "siblings": files, "sha": "0" * 40})
                if rest == "/preupload/main":
                    return self._json({"files": [_mode(file["path"]) for file in json.loads(body)["files"]]})
                if rest == "/info/lfs/objects/batch":
                    objects = json.loads(body)["objects"]
                    return self._json({"transfer": "basic", "objects": [self._place(entry) for entry in objects]})
                if rest == "/commit/main":
                    return self._commit(name, repository, [json.loads(line) for line in body.splitlines()])
                return self._refuse(404, f"no {path} here")

            def _place(self, entry: dict) -> dict:
                place = {"href": f"{hub.endpoint}/upload/{entry['oid']}", "header": {}}
                return entry | {"authenticated": True, "actions": {"upload": place}}

            def _commit(self, name: str, repository: Repository, lines: list[dict]) -> None:
                files = dict(repository.files)
                for line in lines:
                    key, value = line["key"], line["value"]
                    if key == "file":
                        files[value["path"]] = base64.b64decode(value["content"])
                    elif key == "lfsFile":
                        files[value["path"]] = hub.objects[value["oid"]]
                    elif key == "deletedFile":
                        del files[value["path"]]
                    elif key == "header":
                        repository.commits.append(value["summary"])
                repository.files = files
                commit = hashlib.sha1(repr(sorted(files)).encode(), usedforsecurity=False).hexdigest()
                url = f"{hub.endpoint}/{name}/commit/{commit}"
                return self._json({"success": True, "commitOid": commit, "commitUrl": url})

            def _refuse(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
                self._json({"error": message}, status, {"X-Error-Message": message, **(headers or {})})

            def _json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
                data = json.dumps(value).encode()
                self.send_response(status)
                for name, text in {"Content-Type": "application/json", **(headers or {})}.items():
                    self.send_header(name, text)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        return Handler


def _mode(path: str) -> dict:
    """How the hub wants a file: weights and the tokenizer in large-file storage, the rest in git."""
    mode = "lfs" if path.endswith((".safetensors", "tokenizer.json")) else "regular"
    return {"path": path, "uploadMode": mode, "shouldIgnore": False}
