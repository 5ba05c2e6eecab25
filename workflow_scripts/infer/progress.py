"""The answers of a shard as they come: flushed row by row, so that a killed job computes none of them again."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from workflow_scripts.core.code import sources
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.engines.exchange import Response


class Progress:
    """Finished answers of the shard that will be written to `out`.

    They lie beside it in a file whose name holds a hash of what the answers depend on, the step's code included: after
    a change of any of it nothing is taken over.

    Args:
        out: the shard's Parquet file.
        module: the step's module.
        identity: text of everything else that the answers depend on.
    """

    def __init__(self, out: Path, module: str, identity: Iterable[str]) -> None:
        code = [sha256_of_file(Path(file)) for file in sources(module)]
        digest = hashlib.sha256(repr([*code, *identity]).encode()).hexdigest()[:16]
        self.path = out.with_name(f"{out.stem}.{digest}.partial.jsonl")
        self.rows = self._read()

    def _read(self) -> dict[str, dict]:
        """Finished rows by uid; a line that a kill cut short is not one, and is cut off."""
        done: dict[str, dict] = {}
        if not self.path.exists():
            return done
        whole = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            row = json.loads(line)
            done[row["uid"]] = row
            whole += len(line)
        with self.path.open("r+b") as stream:
            stream.truncate(whole)
        return done

    def __enter__(self) -> "Progress":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def keep(self, responses: Iterable[Response], **columns: object) -> None:
        """Flush answers to the disk; `columns` are the same for all of them."""
        for response in responses:
            row = {**vars(response), **columns}
            self.rows[response.uid] = row
            self._stream.write(json.dumps(row, ensure_ascii=True) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Forget the answers, once the shard is written."""
        self.path.unlink(missing_ok=True)
