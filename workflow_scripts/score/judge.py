"""Judge the report answers of one system: each distinct pair once per judge, ever.

`python -m workflow_scripts.score.judge --split S.parquet --predictions P.parquet --judge NAME --spec JSON --store DIR
--out J.parquet`; the spec is the judge's section of the configuration.
"""

import argparse
import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.judges import Judge, RecordedJudge, RuleBasedJudge, ServerJudge
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.tables import JUDGEMENTS, PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.judges.backends.recorded import RecordedReplies
from workflow_scripts.judges.backends.server import Server
from workflow_scripts.judges.judgements import (
    Backend,
    Judgement,
    Pair,
    Store,
    invalid_share,
    judge_pairs,
    pairs_of,
    self_pairs,
)
from workflow_scripts.judges.rule_based import findings, lexicon
from workflow_scripts.judges.rule_based import judge as lexicon_judge


class Lexicon:
    """The offline judge. Its identity is the content of its table and rules."""

    def __init__(self, table: Path = lexicon.TABLE) -> None:
        sources = [table, *(Path(module.__file__) for module in (lexicon, findings, lexicon_judge))]
        self.identity = {"backend": "lexicon", "sources": {path.name: sha256_of_file(path) for path in sources}}
        self._known = lexicon.load_lexicon(table)

    def ask(self, pairs: list[Pair], attempt: int) -> list[Judgement | None]:
        """Judgements of the pairs; the judge is deterministic, so that `attempt` changes nothing."""
        return [self._judged(pair) for pair in pairs]

    def _judged(self, pair: Pair) -> Judgement:
        context = json.loads(pair.context)
        try:
            reply = lexicon_judge.judge_pair(pair.reference, pair.hypothesis, context, self._known)
        except lexicon_judge.Abstains as reason:
            return Judgement("abstained", "", str(reason))
        return Judgement("valid", canonical_json(reply))


def backend_of(judge: Judge) -> Backend:
    """The backend that a judge's section describes; what it needs is imported only now."""
    if isinstance(judge, RuleBasedJudge):
        return Lexicon()
    if isinstance(judge, RecordedJudge):
        return RecordedReplies(judge)
    if isinstance(judge, ServerJudge):
        return Server(judge)
    from workflow_scripts.judges.backends.local import TransformersModel

    return TransformersModel(judge)


def judge_system(split: Path, predictions: Path, name: str, judge: Judge, store: Path, out: Path) -> None:
    """Judge a system's reports and write the JUDGEMENTS table: one row a distinct pair.

    Raises:
        Refused: more replies are invalid than the judge's section allows.
    """
    rows = read_table(split, ROWS).to_pylist()
    texts = {row["uid"]: row["text"] for row in read_table(predictions, PREDICTIONS).to_pylist()}
    pairs = list(dict.fromkeys(pairs_of(rows, texts).values()))
    by_model = not isinstance(judge, RuleBasedJudge)
    if by_model and judge.metric == "crimson" and judge.freeze_references:
        pairs = list(dict.fromkeys([*pairs, *self_pairs(pairs)]))
    backend = backend_of(judge)
    judged = judge_pairs(pairs, Store(store, backend.identity), backend, judge.retries if by_model else 0)
    share = invalid_share(judged)
    if by_model and share > judge.invalid_share:
        reasons = sorted({judgement.reason for judgement in judged.values() if judgement.status == "invalid"})
        raise Refused(
            f"judge {name}: {share:.0%} of its replies are invalid, {judge.invalid_share:.0%} are allowed "
            f"(`invalid_share`); for instance: {reasons[0]}"
        )
    table = [
        {
            "pair": pair.key,
            "judge": name,
            "backend": judge.backend,
            "metric": judge.metric if by_model else "both",
            "context": pair.context,
            "reference": pair.reference,
            "hypothesis": pair.hypothesis,
            "status": judgement.status,
            "reply": judgement.reply,
            "reason": judgement.reason,
        }
        for pair, judgement in sorted(judged.items(), key=lambda entry: entry[0].key)
    ]
    write_table(out, table, JUDGEMENTS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--judge", required=True, help="name of the judge in the configuration")
    parser.add_argument("--spec", required=True, help="the judge's section as JSON")
    parser.add_argument("--store", type=Path, required=True, help="folder of kept judgements, shared by runs")
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    try:
        judge: Judge = TypeAdapter(Judge).validate_json(given.spec)
    except ValidationError as error:
        raise Refused(f"--spec is no judge section: {error.errors()[0]['msg']}") from None
    judge_system(given.split, given.predictions, given.judge, judge, given.store, given.out)


if __name__ == "__main__":
    run_step(main)
