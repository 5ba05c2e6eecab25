"""Scores of the report answers of one system: CRIMSON and GREEN from judgements, and lexical companions.

`python -m workflow_scripts.score.report_metrics --split S.parquet --predictions P.parquet --judgements J.parquet …
--out R.parquet`
"""

import argparse
import json
from pathlib import Path

import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tables import JUDGEMENTS, PREDICTIONS, REPORT_SCORES, ROWS, read_table, write_table
from workflow_scripts.score.crimson import crimson
from workflow_scripts.score.green import GreenCounts, green
from workflow_scripts.score.judgements import Pair, pairs_of

Score = tuple[str, float | None, str]
"""Metric, value (null: no judgement) and status."""


def judged_scores(judgement: dict) -> list[Score]:
    """CRIMSON and GREEN of one row of JUDGEMENTS; `_normal` and `_abnormal` tell the kinds of reference apart.

    The metric bears the judge's name, and "offline" for the lexicon.
    """
    ending = "offline" if judgement["backend"] == "lexicon" else judgement["judge"]
    if judgement["status"] != "valid":
        return [(f"{name}_{ending}", None, judgement["status"]) for name in ("crimson", "green")]
    reply = json.loads(judgement["reply"])
    scored = crimson(reply)
    counts = reply["green"]
    values = {
        "crimson": scored.score,
        "green": green(
            GreenCounts(counts["matched"], tuple(counts["significant"]), tuple(counts["insignificant"]))
        ),
    }
    kind = "abnormal" if scored.abnormal else "normal"
    found: list[Score] = []
    for name, value in values.items():
        found += [(f"{name}_{ending}", value, "valid"), (f"{name}_{ending}_{kind}", value, "valid")]
    return found


class Lexical:
    """BLEU-4 (sentence, exponential smoothing), ROUGE-L F1 and chrF, each in [0, 1], from their libraries."""

    def __init__(self) -> None:
        self._rouge = RougeScorer(["rougeL"], use_stemmer=False)
        self._bleu = sacrebleu.BLEU(effective_order=True)
        self._chrf = sacrebleu.CHRF()

    def scores(self, pair: Pair) -> list[Score]:
        """Scores of one pair; without punctuation marks in the way, in lower case."""
        reference, hypothesis = pair.reference.lower(), pair.hypothesis.lower()
        return [
            ("bleu", self._bleu.sentence_score(hypothesis, [reference]).score / 100, "valid"),
            ("rouge_l", self._rouge.score(reference, hypothesis)["rougeL"].fmeasure, "valid"),
            ("chrf", self._chrf.sentence_score(hypothesis, [reference]).score / 100, "valid"),
        ]


def score_reports(split: Path, predictions: Path, judgements: list[Path], out: Path) -> None:
    """Write the REPORT_SCORES table of one system.

    Raises:
        BadFile: a pair of the system has no judgement in one of the tables.
    """
    rows = read_table(split, ROWS).to_pylist()
    answers = read_table(predictions, PREDICTIONS).to_pylist()
    systems = sorted({answer["system"] for answer in answers})
    if len(systems) != 1:
        raise BadFile(f"{predictions}: expected the predictions of one system, found {', '.join(systems) or 'none'}")
    pairs = pairs_of(rows, {answer["uid"]: answer["text"] for answer in answers})
    lexical = Lexical()
    scores: dict[Pair, list[Score]] = {pair: lexical.scores(pair) for pair in dict.fromkeys(pairs.values())}
    for path in judgements:
        by_key = {judgement["pair"]: judgement for judgement in read_table(path, JUDGEMENTS).to_pylist()}
        for pair, listed in scores.items():
            if pair.key not in by_key:
                raise BadFile(f"{path} lacks a judgement of {pair.hypothesis[:40]!r}; judge these predictions again")
            listed += judged_scores(by_key[pair.key])
    table = [
        {"uid": uid, "system": systems[0], "metric": metric, "value": value, "status": status}
        for uid, pair in pairs.items()
        for metric, value, status in scores[pair]
    ]
    write_table(out, table, REPORT_SCORES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--judgements", type=Path, nargs="*", default=[])
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    score_reports(given.split, given.predictions, given.judgements, given.out)


if __name__ == "__main__":
    run_step(main)
