"""Judge the answers of all systems of a split, reports or graded responses: a valid judgement is never asked for again.

`python -m workflow_scripts.score.judge --split S.parquet --predictions P.parquet … --name NAME --spec JSON --store DIR
--out J.parquet`
"""

from collections.abc import Iterable
from pathlib import Path

from workflow_scripts.cache.given_files import reading
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.judges import Judge, JudgeSection, RecordedJudge, RuleBasedJudge, ServerJudge
from workflow_scripts.core.rows import JudgedPair, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.judges.backends.recorded import RecordedReplies
from workflow_scripts.judges.backends.rule_based import Rules
from workflow_scripts.judges.backends.server import Server
from workflow_scripts.judges.judgements import (
    Backend,
    Kind,
    Pair,
    Store,
    in_shard,
    invalid_share,
    judge_pairs,
    pairs_of,
    self_pairs,
)


def backend_of(judge: Judge, model: Path | None = None) -> Backend:
    """The backend that a judge's section describes; what it needs is imported only now.

    Args:
        model: record of the checkpoint, for a judge that is loaded here.

    Raises:
        Refused: the record is missing.
    """
    if isinstance(judge, RuleBasedJudge):
        return Rules()
    if isinstance(judge, RecordedJudge):
        return RecordedReplies(judge)
    if isinstance(judge, ServerJudge):
        return Server(judge)
    if model is None:
        raise Refused(f"the record of {judge.checkpoint} is missing: give what models.fetch wrote with --model")
    from workflow_scripts.judges.backends.local import TransformersModel

    return TransformersModel(judge, model)


def pairs_to_judge(split: Path, predictions: Iterable[Path], section: Judge) -> list[Pair]:
    """Distinct pairs of all systems that are this judge's: reports, or rows with a rubric.

    For a judge of CRIMSON that freezes references, each reference against itself besides.
    """
    of_rubrics = not isinstance(section, RuleBasedJudge) and section.metric == "rubric"
    kind: Kind = "rubrics" if of_rubrics else "reports"
    rows = list(read_rows(split, Row))
    pairs: dict[Pair, None] = {}
    for table in predictions:
        texts = {prediction.uid: prediction.text for prediction in read_rows(table, Prediction)}
        pairs |= dict.fromkeys(pairs_of(rows, texts, kind).values())
    if not isinstance(section, RuleBasedJudge) and section.metric == "crimson" and section.freeze_references:
        pairs |= dict.fromkeys(self_pairs(pairs))
    return list(pairs)


def judge(
    *,
    split: Path,
    predictions: list[Path],
    name: str,
    spec: JudgeSection,
    model: Path | None = None,
    content: str = "",
    seen: Path | None = None,
    shard: str = "1-of-1",
    store: Path,
    out: Path,
) -> None:
    """Judge the answers of all systems of a split: one row a distinct pair.

    Args:
        split: table of the split's rows.
        predictions: tables of predictions, one a system.
        name: the judge's name in the configuration.
        spec: the judge's section of the configuration.
        model: record of the checkpoint, for a judge that is loaded here.
        content: what the plan calls the state of a recorded judge's file.
        seen: where to note what was read of that file, for later plans.
        shard: `K-of-N`: the pairs of this job, chosen by their hash.
        store: folder of stored judgements, shared by runs.
        out: table of judged pairs to write.

    Raises:
        Refused: more replies are invalid than the judge's section allows.
    """
    section = spec.root
    pairs = [pair for pair in pairs_to_judge(split, predictions, section) if in_shard(pair, shard)]
    if isinstance(section, RecordedJudge) and seen is not None:
        with reading(section.file, seen, content):
            backend = backend_of(section)
    else:
        backend = backend_of(section, model)
    metrics: tuple[str, ...]
    if isinstance(section, RuleBasedJudge):
        metrics, retries, allowed = ("crimson", "green"), 0, 1.0
    else:
        metrics, retries, allowed = (section.metric,), section.retries, section.invalid_share
    judgements = judge_pairs(pairs, Store(store, backend.identity), backend, retries, name)
    if (share := invalid_share(judgements)) > allowed:
        reasons = sorted(str(judgement.reason) for judgement in judgements.values() if judgement.status == "invalid")
        raise Refused(
            f"judge {name}: {share:.0%} of its replies are invalid, {allowed:.0%} are allowed "
            f"(`invalid_share`); for instance: {reasons[0]}"
        )
    rows = [
        JudgedPair(
            pair=pair.key,
            judge=name,
            backend=section.backend,
            metrics=metrics,
            context=pair.context,
            reference=pair.reference,
            hypothesis=pair.hypothesis,
            status=judgement.status,
            reply=judgement.reply,
            reason=judgement.reason,
        )
        for pair, judgement in sorted(judgements.items(), key=lambda entry: entry[0].key)
    ]
    write_rows(out, rows, JudgedPair)


if __name__ == "__main__":
    run_step(judge)
