"""Caches answers as they come, by what was asked: a killed job, a changed row or a second checkout asks none again.

Below the store lies one folder for each answerer: the model's files, the adapter, what they run on, the step's code.
In it, records under the hash of the request: words, images, limit of new tokens, grammar, draw. Names of rows, splits
and systems are no part of it.
"""

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any

from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import RecordStore
from workflow_scripts.core.requests import Request, Response


def key_of(request: Request) -> str:
    """Cache key of a request: words and images, by their content, limit of new tokens, grammar of the answer, draw."""
    return cache_key(
        "answer",
        chat=request.chat,
        images=[image.sha256 for image in request.images],
        max_new_tokens=request.max_new_tokens,
        grammar=None if request.grammar is None else [request.grammar, version("llguidance")],
        **({} if request.sampling is None else {"sampling": request.sampling._asdict()}),
    )


class Progress:
    """An answerer's stored answers to `requests`, in `rows` by their names; new ones are flushed as they come.

    Args:
        store: folder of cached answers, shared by shards, splits, systems and checkouts.
        code: fingerprint of the step's code; a changed line of it makes all answers stale.
        answerer: by name, everything else that an answer depends on besides its request.
        requests: what this job is to answer.
    """

    def __init__(self, store: Path, code: str, answerer: Mapping[str, object], requests: Sequence[Request]) -> None:
        about = {"code": code, **answerer}
        self._records = RecordStore(store / cache_key("answerer", **about), about)
        self._keys = {request.name: key_of(request) for request in requests}
        stored = self._records.read(set(self._keys.values()))
        self.rows: dict[tuple[str, int], dict[str, Any]] = {
            name: stored[key] for name, key in self._keys.items() if key in stored
        }

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._records.close()

    def keep(self, responses: Iterable[Response], **columns: object) -> None:
        """Flush answers to the disk; `columns` are the same for all of them."""
        for response in responses:
            row = {**vars(response), **columns}
            name = row.pop("uid"), row.pop("draw")
            self.rows[name] = row
            self._records.put(self._keys[name], row)
