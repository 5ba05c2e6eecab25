"""Asks a judge about answers and stores its judgements: one a pair and judge, shared by all systems and runs.

A pair is a reference, a hypothesis and their context; a judge is everything that can change its reply (backend,
weights, prompt, decoding, table). Both are hashed, so a store never answers for another judge.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import RecordStore
from workflow_scripts.core.answers import final_answer
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tasks import tasks
from workflow_scripts.judges.progress import Progress
from workflow_scripts.judges.rubrics.rubric import resolved


@dataclass(frozen=True)
class Pair:
    """A reference and an answer to be compared with it, and what is known besides."""

    reference: str
    hypothesis: str
    context: str = "{}"  # canonical JSON: modality of a report; question and rubric, in full, of a graded answer

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
    """A judge that answers pairs."""

    identity: dict[str, Any]
    """All that can change a reply."""

    def ask(self, pairs: list[Pair], attempt: int) -> Iterator[tuple[Pair, Judgement | None]]:
        """Each pair with its judgement, in any order, as replies come; None where none came. `attempt` is from 0.

        Raises:
            JudgeDied: the judge cannot answer any more.
        """
        ...


class JudgeDied(Exception):
    """A backend cannot answer any more; the message says why."""


class Store:
    """Judgements of one judge in a folder."""

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        self._records = RecordStore(root / cache_key("final judgements", identity=dict(identity)), identity)

    @cached_property
    def _judgements(self) -> dict[str, dict[str, Any]]:
        return self._records.read()

    def get(self, pair: Pair) -> Judgement | None:
        """The stored judgement of a pair, or None; a damaged one is reported and asked for again."""
        stored = self._judgements.get(pair.key)
        return None if stored is None else Judgement(stored["status"], stored["reply"], stored["reason"])

    def put(self, pair: Pair, judgement: Judgement) -> None:
        """Store a final judgement at once, the pair beside it for those who read the file."""
        self._judgements[pair.key] = asdict(pair) | asdict(judgement)
        self._records.put(pair.key, self._judgements[pair.key])


Kind = Literal["reports", "rubrics"]
"""What a judge reads: reports, or answers that a row's rubric grades."""


def pairs_of(rows: Iterable[Row], texts: Mapping[str, str], kind: Kind | None = None) -> dict[str, Pair]:
    """The pair of each row whose answers judges read, by uid; `texts` are a system's answers by uid.

    A missing answer is judged as an empty text; thoughts are cut before anything is compared.

    Args:
        kind: the rows of one kind of judge: reports, or rows with a rubric; None: all whose texts are compared.
    """
    pairs = {}
    for row in rows:
        judged_by = tasks()[row.task].judged_by
        if judged_by is None or (kind is not None and (kind != judged_by or (kind == "rubrics" and not row.rubric))):
            continue
        if judged_by == "reports":
            context = {"modality": row.modality}
        else:
            context = rubric_context(row.question, row.rubric) if row.rubric else {"question": row.question.strip()}
        answer = final_answer(texts.get(row.uid, "")).text.strip()
        pairs[row.uid] = Pair(row.answer.strip(), answer, canonical_json(context))
    return pairs


def rubric_context(question: str, rubric: object) -> dict[str, str]:
    """What is known of an answer beside its reference: the question and the whole rubric, so that a key names both.

    Args:
        question: that was asked.
        rubric: what the row states, see `core.rubrics.stated`.

    Raises:
        BadRubric: it is no rubric.
    """
    return {"question": question.strip(), "rubric": resolved(rubric).text()}


def self_pairs(pairs: Iterable[Pair]) -> list[Pair]:
    """Each reference against itself: what a judge reads in it, whatever the hypothesis."""
    return list(dict.fromkeys(Pair(pair.reference, pair.reference, pair.context) for pair in pairs))


NO_REPLY = Judgement("invalid", "", "the judge gave no reply")
DIED = "the judge died"
"""How the reason of pairs begins that a judge did not come to."""


def is_lost(judgement: Judgement) -> bool:
    """Whether a pair got no reply at all."""
    return judgement == NO_REPLY or (judgement.status == "invalid" and str(judgement.reason).startswith(DIED))


def judge_pairs(
    pairs: Sequence[Pair], store: Store, backend: Backend, retries: int, name: str = "judge"
) -> dict[Pair, Judgement]:
    """Judgements of distinct pairs, from the store where it has them; new ones are stored as they come.

    A pair with an invalid reply, or without one, is asked for again up to `retries` times in this run, and again in the
    next; so is every further pair when the judge dies. Nothing but a valid judgement or an abstention is stored.

    Args:
        name: of the judge, in what is said of the progress.
    """
    distinct = dict.fromkeys(pairs)
    judgements = {pair: stored for pair in distinct if (stored := store.get(pair)) is not None}
    waiting = [pair for pair in distinct if pair not in judgements]
    progress = Progress(name, len(distinct), len(judgements))
    lost = NO_REPLY
    for attempt in range(retries + 1):
        if not waiting:
            break
        try:
            for pair, reply in backend.ask(waiting, attempt):
                judgement = judgements[pair] = reply or judgements.get(pair, NO_REPLY)
                final = judgement.status != "invalid"
                if final:
                    store.put(pair, judgement)
                else:
                    progress.reply(pair.key, attempt, judgement.reason)
                if final or attempt == retries:
                    progress.done(judgement.status)
        except JudgeDied as death:
            lost = Judgement("invalid", "", f"{DIED}: {death}")
            break
        waiting = [pair for pair in waiting if judgements[pair].status == "invalid"]
    return {pair: judgements.get(pair, lost) for pair in distinct}


def invalid_share(judgements: Mapping[Pair, Judgement]) -> float:
    """Share of invalid judgements among the pairs on which the judge did not abstain."""
    opinions = [judgement for judgement in judgements.values() if judgement.status != "abstained"]
    return sum(judgement.status == "invalid" for judgement in opinions) / len(opinions) if opinions else 0.0


def in_shard(pair: Pair, shard: str) -> bool:
    """Whether a pair belongs to a shard `K-of-N`, K from 1: by the hash of the pair, so that no pair is in two."""
    number, _, count = shard.partition("-of-")
    return int(pair.key[:15], 16) % int(count) == int(number) - 1
