"""Judgements are kept: one file a pair and judge, named by what was judged, shared by all systems and runs.

A pair is a reference, a hypothesis and the context that the judge is told; a judge is everything that can change its
reply (backend, weights, prompt, decoding, table). Both are hashed, so a store never answers for another judge.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import BadFile, read_json, sha256_of, write_json


@dataclass(frozen=True)
class Pair:
    """What is put before a judge."""

    reference: str
    hypothesis: str
    context: str = "{}"  # canonical JSON

    @property
    def key(self) -> str:
        """SHA-256 of the pair."""
        return sha256_of(canonical_json([self.reference, self.hypothesis, self.context]).encode())


@dataclass(frozen=True)
class Judgement:
    """A judge's answer to a pair: valid, abstained or invalid, with the reply as it came."""

    status: str
    reply: str


class Store:
    """Judgements of one judge in a folder."""

    def __init__(self, root: Path, identity: str) -> None:
        self.folder = root / sha256_of(identity.encode())[:16]
        self.identity = identity

    def _place(self, pair: Pair) -> Path:
        return self.folder / pair.key[:2] / f"{pair.key}.json"

    def get(self, pair: Pair) -> Judgement | None:
        """The kept judgement of a pair, or None.

        Raises:
            BadFile: the kept file is damaged.
        """
        place = self._place(pair)
        if not place.exists():
            return None
        kept = read_json(place)
        if not isinstance(kept, dict) or not {"status", "reply"} <= kept.keys():
            raise BadFile(f"{place} is no judgement; delete it and run again")
        return Judgement(kept["status"], kept["reply"])

    def put(self, pair: Pair, judgement: Judgement) -> None:
        """Keep a judgement; the judge's identity is written beside the first one."""
        about = self.folder / "judge.json"
        if not about.exists():
            write_json(about, json.loads(self.identity))
        write_json(self._place(pair), asdict(pair) | asdict(judgement))


def pairs_of(rows: list[dict], texts: dict[str, str]) -> dict[str, Pair]:
    """The pair of each report row, by uid. A missing prediction is judged as an empty report."""
    return {
        row["uid"]: Pair(
            row["answer"].strip(), texts.get(row["uid"], "").strip(), canonical_json({"modality": row["modality"]})
        )
        for row in rows
        if row["task"] == "report"
    }
