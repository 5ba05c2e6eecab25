"""Scores of the report answers of one system: CRIMSON and GREEN from judgements, and lexical companions.

Beside them, what the judges found.

`python -m workflow_scripts.score.reports --split S.parquet --predictions P.parquet --judgements J.parquet …
[--nltk-data FOLDER] --out R.parquet --findings F.parquet`
"""

import argparse
import json
from pathlib import Path

import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tables import JUDGEMENTS, PREDICTIONS, REPORT_SCORES, ROWS, read_table, write_table
from workflow_scripts.judges.crimson import crimson
from workflow_scripts.judges.green import GreenCounts, green
from workflow_scripts.judges.judgements import Pair, pairs_of
from workflow_scripts.judges.replies import read_crimson, read_green
from workflow_scripts.score.findings import write_findings
from workflow_scripts.tasks.report.meteor import Meteor
from workflow_scripts.tasks.report.rule_green import rule_green

Score = tuple[str, float | None, str]
"""Metric, value (null: no judgement) and status."""


def judged_scores(judgement: dict, reference_weight: float | None = None) -> list[Score]:
    """CRIMSON and GREEN of one row of JUDGEMENTS; `_normal` and `_abnormal` tell the kinds of reference apart.

    The metric bears the judge's name, and "offline" for the lexicon. `reference_weight`: see `crimson.crimson`.
    """
    ending = "offline" if judgement["backend"] == "lexicon" else judgement["judge"]
    names = ("crimson", "green") if judgement["metric"] == "both" else (judgement["metric"],)
    if judgement["status"] != "valid":
        return [(f"{name}_{ending}", None, judgement["status"]) for name in names]
    if judgement["metric"] == "green":
        return [(f"green_{ending}", green(read_green(judgement["reply"])), "valid")]
    reply = json.loads(judgement["reply"]) if judgement["metric"] == "both" else read_crimson(judgement["reply"])
    scored = crimson(reply, reference_weight=reference_weight)
    values = {"crimson": scored.score}
    if judgement["metric"] == "both":
        counts = reply["green"]
        values["green"] = green(
            GreenCounts(counts["matched"], tuple(counts["significant"]), tuple(counts["insignificant"]))
        )
    kind = "abnormal" if scored.abnormal else "normal"
    found: list[Score] = []
    for name, value in values.items():
        found += [(f"{name}_{ending}", value, "valid"), (f"{name}_{ending}_{kind}", value, "valid")]
    return found + (efficacy(reply, ending) if judgement["metric"] == "both" else [])


def efficacy(reply: dict, ending: str) -> list[Score]:
    """Finding classes of a pair, for clinical efficacy: shared ones, the reference's and the hypothesis's."""
    wanted, said = (
        {finding["class"] for finding in reply[side]} for side in ("reference_findings", "predicted_findings")
    )
    counts = {"hits": len(wanted & said), "gold": len(wanted), "named": len(said)}
    return [(f"efficacy_{ending}.{part}", float(count), "valid") for part, count in counts.items()]


def frozen_weights(judgements: list[dict]) -> dict[str, float]:
    """Weight of each reference by itself, from its judgement against itself, where a model judged that."""
    return {
        judgement["reference"]: crimson(read_crimson(judgement["reply"])).reference_weight
        for judgement in judgements
        if judgement["metric"] == "crimson"
        and judgement["status"] == "valid"
        and judgement["reference"] == judgement["hypothesis"]
    }


class Lexical:
    """BLEU-4 (sentence, effective order), ROUGE-L F1, chrF, METEOR from their libraries, and rule-GREEN; in [0, 1]."""

    def __init__(self, nltk_data: str | None = None) -> None:
        self._meteor = Meteor(nltk_data)
        self._rouge = RougeScorer(["rougeL"], use_stemmer=False)
        self._bleu = sacrebleu.BLEU(effective_order=True)
        self._chrf = sacrebleu.CHRF()

    def scores(self, pair: Pair) -> list[Score]:
        """Scores of one pair; the libraries' in lower case."""
        reference, hypothesis = pair.reference.lower(), pair.hypothesis.lower()
        return [
            ("bleu", self._bleu.sentence_score(hypothesis, [reference]).score / 100, "valid"),
            ("rouge_l", self._rouge.score(reference, hypothesis)["rougeL"].fmeasure, "valid"),
            ("chrf", self._chrf.sentence_score(hypothesis, [reference]).score / 100, "valid"),
            (self._meteor.name, self._meteor.score(reference, hypothesis), "valid"),
            ("rule_green_2025", rule_green(pair.reference, pair.hypothesis)["overall"], "valid"),
        ]


def score_reports(
    split: Path, predictions: Path, judgements: list[Path], out: Path, nltk_data: str | None = None
) -> None:
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
    lexical = Lexical(nltk_data)
    scores: dict[Pair, list[Score]] = {pair: lexical.scores(pair) for pair in dict.fromkeys(pairs.values())}
    for path in judgements:
        table = read_table(path, JUDGEMENTS).to_pylist()
        by_key = {judgement["pair"]: judgement for judgement in table}
        weights = frozen_weights(table)
        for pair, listed in scores.items():
            if pair.key not in by_key:
                raise BadFile(f"{path} lacks a judgement of {pair.hypothesis[:40]!r}; judge these predictions again")
            listed += judged_scores(by_key[pair.key], weights.get(pair.reference))
    rows = [
        {"uid": uid, "system": systems[0], "metric": metric, "value": value, "status": status}
        for uid, pair in pairs.items()
        for metric, value, status in scores[pair]
    ]
    write_table(out, rows, REPORT_SCORES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--judgements", type=Path, nargs="*", default=[])
    parser.add_argument("--nltk-data", help="nltk's folder with WordNet; without it, METEOR has no synonyms")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--findings", type=Path, required=True, help="table of what the judges found")
    given = parser.parse_args()
    score_reports(given.split, given.predictions, given.judgements, given.out, given.nltk_data)
    write_findings(given.judgements, given.findings)


if __name__ == "__main__":
    run_step(main)
