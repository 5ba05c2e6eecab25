"""Judgements are kept: one file a pair and judge, named by what was judged, shared by all systems and runs.

A pair is a reference, a hypothesis and the context that the judge is told; a judge is everything that can change its
reply (backend, weights, prompt, decoding, table). Both are hashed, so a store never answers for another judge.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

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
    """A judge's answer to a pair: valid, abstained or invalid, with the raw reply, and why it is not valid."""

    status: str
    reply: str = ""
    reason: str | None = None


class Backend(Protocol):
    """Whoever answers pairs."""

    identity: dict
    """All that can change a reply."""

    def ask(self, pairs: list[Pair], attempt: int) -> list[Judgement | None]:
        """Judgements in the order of the pairs; None where no reply came. `attempt` counts from 0."""
        ...


class JudgeDied(Exception):
    """A backend cannot answer any more; the message says why."""


class Store:
    """Judgements of one judge in a folder."""

    def __init__(self, root: Path, identity: dict) -> None:
        self.folder = root / sha256_of(canonical_json(identity).encode())[:16]
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
        if not isinstance(kept, dict) or not {"status", "reply", "reason"} <= kept.keys():
            raise BadFile(f"{place} is no judgement; delete it and run again")
        return Judgement(kept["status"], kept["reply"], kept["reason"])

    def put(self, pair: Pair, judgement: Judgement) -> None:
        """Keep a judgement; the judge's identity is written beside the first one."""
        about = self.folder / "judge.json"
        if not about.exists():
            write_json(about, self.identity)
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


def self_pairs(pairs: list[Pair]) -> list[Pair]:
    """Each reference against itself: what a judge finds in it, whatever the hypothesis."""
    return list(dict.fromkeys(Pair(pair.reference, pair.reference, pair.context) for pair in pairs))


CHUNK = 512
"""Pairs asked for at a time; what is answered is kept before more are asked."""
NO_REPLY = Judgement("invalid", "", "the judge gave no reply")


def judge_pairs(pairs: list[Pair], store: Store, backend: Backend, retries: int) -> dict[Pair, Judgement]:
    """Judgements of distinct pairs, from the store where it has them; new ones are kept as they come.

    An invalid reply is asked for again up to `retries` times; the last one is kept. A pair without a reply is invalid
    in this run and asked for again in the next; so is every further pair when the judge dies.
    """
    known = {pair: store.get(pair) for pair in dict.fromkeys(pairs)}
    new = [pair for pair, judgement in known.items() if judgement is None]
    for start in range(0, len(new), CHUNK):
        chunk = new[start : start + CHUNK]
        death = _ask(chunk, known, backend, retries)
        for pair in chunk:
            judgement = known[pair]
            unfinished = judgement is None or judgement is NO_REPLY or (death and judgement.status == "invalid")
            if not unfinished:
                store.put(pair, judgement)
        if death:
            lost = Judgement("invalid", "", f"the judge died: {death}")
            return {pair: judgement or lost for pair, judgement in known.items()}
    return known


def _ask(chunk: list[Pair], known: dict[Pair, Judgement | None], backend: Backend, retries: int) -> JudgeDied | None:
    """Fill in `known` for a chunk of pairs; the judge's death if it died meanwhile."""
    waiting = chunk
    for attempt in range(retries + 1):
        if not waiting:
            break
        try:
            answers = backend.ask(waiting, attempt)
        except JudgeDied as death:
            return death
        for pair, judgement in zip(waiting, answers, strict=True):
            known[pair] = judgement or known[pair] or NO_REPLY
        waiting = [pair for pair in waiting if known[pair].status == "invalid"]
    return None


def invalid_share(judged: dict[Pair, Judgement]) -> float:
    """Share of invalid judgements among the pairs on which the judge did not abstain."""
    asked = [judgement for judgement in judged.values() if judgement.status != "abstained"]
    return sum(judgement.status == "invalid" for judgement in asked) / len(asked) if asked else 0.0
