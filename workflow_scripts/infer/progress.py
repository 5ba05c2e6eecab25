"""The answers of a system to a shard as they come, flushed at once: a killed job computes none of them again."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from workflow_scripts.core.code import sources
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.engines.exchange import Response


class Progress:
    """Finished answers of a system to the shard that will be written to `out`.

    They lie beside it in a file whose name holds a hash of what the answers depend on, the step's code included: after
    a change of any of it nothing is taken over.

    Args:
        out: the shard's Parquet file.
        system: name of the system.
        module: the step's module.
        identity: text of everything else that the answers depend on.
    """

    def __init__(self, out: Path, system: str, module: str, identity: Iterable[str]) -> None:
        code = [sha256_of_file(Path(file)) for file in sources(module)]
        digest = hashlib.sha256(repr([*code, *identity]).encode()).hexdigest()[:16]
        self._system = system
        self._kept = f"{out.stem}.{system}.*.partial.jsonl"
        self.path = out.with_name(f"{out.stem}.{system}.{digest}.partial.jsonl")
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
            row = {**vars(response), "system": self._system, **columns}
            self.rows[response.uid] = row
            self._stream.write(json.dumps(row, ensure_ascii=True) + "\n")
        self._stream.flush()

    def close(self, *, keep: bool = False) -> None:
        """Forget the answers, once the shard is written.

        Args:
            keep: hold on to them, for a shard that is written again when another system of its cohort changes; those
                of an earlier identity go all the same.
        """
        for path in self.path.parent.glob(self._kept):
            if not keep or path != self.path:
                path.unlink()
