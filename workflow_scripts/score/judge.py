"""Judge the report answers of one system: each distinct pair once per judge, ever.

`python -m workflow_scripts.score.judge --split S.parquet --predictions P.parquet --judge NAME --spec JSON --store DIR
--out J.parquet`; the spec is the judge's section of the configuration.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.config.systems import LexiconJudge
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.tables import JUDGEMENTS, PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.score import findings, lexicon, lexicon_judge
from workflow_scripts.score.judgements import Judgement, Pair, Store, pairs_of

Ask = Callable[[Sequence[Pair]], list[Judgement]]
"""A backend: judgements of pairs, in their order."""


def lexicon_backend(table: Path = lexicon.TABLE) -> tuple[str, Ask]:
    """The offline judge: its identity (hashes of its table and rules) and its function."""
    sources = [table, *(Path(module.__file__) for module in (lexicon, findings, lexicon_judge))]
    identity = {"backend": "lexicon", "sources": {path.name: sha256_of_file(path) for path in sources}}
    known = lexicon.load_lexicon(table)

    def ask(pairs: Sequence[Pair]) -> list[Judgement]:
        return [_judged(pair, known) for pair in pairs]

    return canonical_json(identity), ask


def _judged(pair: Pair, known: lexicon.Lexicon) -> Judgement:
    try:
        reply = lexicon_judge.judge_pair(pair.reference, pair.hypothesis, json.loads(pair.context), known)
    except lexicon_judge.Abstains as reason:
        return Judgement("abstained", str(reason))
    return Judgement("valid", canonical_json(reply))


def judge_pairs(pairs: Sequence[Pair], store: Store, ask: Ask) -> dict[Pair, Judgement]:
    """Judgements of distinct pairs, from the store where it has them; new ones are kept."""
    known = {pair: store.get(pair) for pair in dict.fromkeys(pairs)}
    new = [pair for pair, judgement in known.items() if judgement is None]
    for pair, judgement in zip(new, ask(new), strict=True):
        store.put(pair, judgement)
        known[pair] = judgement
    return known


def judge_system(split: Path, predictions: Path, name: str, spec: str, store: Path, out: Path) -> None:
    """Judge a system's reports and write the JUDGEMENTS table: one row a distinct pair."""
    judge = LexiconJudge.model_validate_json(spec)
    rows = read_table(split, ROWS).to_pylist()
    texts = {row["uid"]: row["text"] for row in read_table(predictions, PREDICTIONS).to_pylist()}
    identity, ask = lexicon_backend()
    judged = judge_pairs(list(pairs_of(rows, texts).values()), Store(store, identity), ask)
    table = [
        {
            "pair": pair.key,
            "judge": name,
            "backend": judge.backend,
            "context": pair.context,
            "reference": pair.reference,
            "hypothesis": pair.hypothesis,
            "status": judgement.status,
            "reply": judgement.reply,
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
    judge_system(given.split, given.predictions, given.judge, given.spec, given.store, given.out)


if __name__ == "__main__":
    run_step(main)
