"""Answers are kept as they come, by what was asked: a killed job, a changed row or a second checkout asks none again.

Below the store lies one folder for each answerer: the model's files, the adapter, the step's code. In it, lines of
JSON under the hash of what was asked: the words, the pictures, the budget and the grammar. Names of rows, splits and
systems are no part of it.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from uuid import uuid4

from workflow_scripts.cache import fingerprints as code
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.requests import Request, Response


def key_of(request: Request) -> str:
    """Hash of what is asked: words, pictures by their content, budget, and the grammar of a constrained answer."""
    shown = [image.sha256 for image in request.images]
    asked = [request.chat, shown, request.max_new_tokens, request.grammar]
    return hashlib.sha256(canonical_json(asked).encode()).hexdigest()[:32]


class Progress:
    """A system's kept answers to `requests`, in `rows` by uid; new ones are flushed as they come.

    Args:
        store: folder of kept answers, shared by shards, splits, systems and checkouts.
        module: the step's module; a line of its code makes all answers stale.
        identity: text of everything else that an answer depends on besides what was asked.
        requests: what this job is to answer.
    """

    def __init__(self, store: Path, module: str, identity: Iterable[str], requests: Sequence[Request]) -> None:
        digest = hashlib.sha256(repr([code.identity(module), *identity]).encode()).hexdigest()[:16]
        self.folder = store / digest
        self._keys = {request.uid: key_of(request) for request in requests}
        wanted = set(self._keys.values())
        kept = {row.pop("key"): row for row in self._kept() if row["key"] in wanted}
        self.rows = {uid: kept[key] for uid, key in self._keys.items() if key in kept}

    def _kept(self) -> Iterator[dict]:
        """Every kept row; a line that a kill cut short, or that another job is writing, is not one."""
        for file in sorted(self.folder.glob("*.jsonl")):
            for line in file.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def __enter__(self) -> "Progress":
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stream = (self.folder / f"{uuid4().hex}.jsonl").open("x", encoding="utf-8")  # each job writes its own
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def keep(self, responses: Iterable[Response], **columns: object) -> None:
        """Flush answers to the disk; `columns` are the same for all of them."""
        for response in responses:
            row = {**vars(response), **columns}
            uid = row.pop("uid")
            self.rows[uid] = row
            self._stream.write(json.dumps({"key": self._keys[uid], **row}) + "\n")
        self._stream.flush()
