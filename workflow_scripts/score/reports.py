"""Scores of the report answers of one system: CRIMSON and GREEN from judgements, and metrics of the texts.

Beside them, the findings that the judges name.

`python -m workflow_scripts.score.reports --split S.parquet --predictions P.parquet --judgements J.parquet …
[--nltk-data FOLDER] --out R.parquet --findings F.parquet`
"""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import sacrebleu
from rouge_score.rouge_scorer import RougeScorer

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import JudgedFinding, JudgedPair, Prediction, ReportScore, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.judges.crimson import JudgementJSON, crimson, read_crimson
from workflow_scripts.judges.green import green, read_green
from workflow_scripts.judges.judgements import Pair, pairs_of, self_pairs
from workflow_scripts.judges.rule_based.judge import green_counts
from workflow_scripts.score.findings import RULE_BASED, findings_of_pairs, judgement_of
from workflow_scripts.tasks.report.meteor import Meteor
from workflow_scripts.tasks.report.rule_green import rule_green
from workflow_scripts.tasks.report.scripts import script_of
from workflow_scripts.tasks.report.temporal import temporal_f1


class Score(NamedTuple):
    """A score of a pair of reports; fields as in `ReportScore`."""

    metric: str
    value: float | None
    judge: str | None = None
    stratum: str | None = None
    status: str = "valid"


def judged_scores(pair: JudgedPair, reference_weight: float | None = None) -> list[Score]:
    """CRIMSON and GREEN of a pair, over all references and over those of its kind, normal or abnormal.

    Args:
        pair: valid or not.
        reference_weight: see `judges.crimson.crimson`.
    """
    if pair.status != "valid":
        return [Score(metric, None, pair.judge, status=pair.status) for metric in pair.metrics]
    if "crimson" not in pair.metrics:
        return [Score("green", green(read_green(pair.reply)), pair.judge)]
    judgement = judgement_of(pair)
    scored = crimson(judgement, reference_weight=reference_weight)
    values = {"crimson": scored.score}
    if pair.backend == RULE_BASED:
        values["green"] = green(green_counts(judgement))
    stratum = "abnormal" if scored.abnormal else "normal"
    scores = [Score(metric, value, pair.judge, kind) for metric, value in values.items() for kind in (None, stratum)]
    return scores + (efficacy(judgement, pair.judge) if pair.backend == RULE_BASED else [])


def efficacy(judgement: JudgementJSON, judge: str) -> list[Score]:
    """Counts of the finding classes of a pair, for clinical efficacy: shared, the reference's, the prediction's."""
    reference, predicted = (
        {finding["class"] for finding in judgement[side]} for side in ("reference_findings", "predicted_findings")
    )
    return [
        Score("efficacy_hits", float(len(reference & predicted)), judge),
        Score("efficacy_reference", float(len(reference)), judge),
        Score("efficacy_predicted", float(len(predicted)), judge),
    ]


def frozen_weights(pairs: Iterable[JudgedPair]) -> dict[str, float]:
    """Weight of each reference by itself, from its judgement against itself, where a model judged that."""
    return {
        pair.reference: crimson(read_crimson(pair.reply)).reference_weight
        for pair in pairs
        if pair.backend != RULE_BASED
        and "crimson" in pair.metrics
        and pair.status == "valid"
        and pair.reference == pair.hypothesis
    }


UNREADABLE = "unreadable_script"
"""Status of a score of a reference in a script that the metric cannot read."""


class Lexical:
    """BLEU-4 (sentence, effective order), ROUGE-L F1, chrF, METEOR from their libraries, and rule-GREEN; in [0, 1].

    ROUGE's and METEOR's words are of ASCII letters and digits, and rule-GREEN's are English: none of them has a score
    where the reference is in another script. BLEU splits Chinese into characters, and has no score in other scripts
    without spaces. chrF reads characters of any script.
    """

    def __init__(self, nltk_data: Path | None = None) -> None:
        """Load the scorers.

        Raises:
            BadFile: `nltk_data` holds no WordNet.
        """
        self._meteor = Meteor(nltk_data)
        self._rouge = RougeScorer(["rougeL"], use_stemmer=False)
        self._bleu = sacrebleu.BLEU(effective_order=True)
        self._chinese_bleu = sacrebleu.BLEU(effective_order=True, tokenize="zh")
        self._chrf = sacrebleu.CHRF()

    def scores(self, pair: Pair) -> list[Score]:
        """Scores of one pair; the libraries' in lower case."""
        reference, hypothesis = pair.reference.lower(), pair.hypothesis.lower()
        script = script_of(pair.reference)
        bleu = self._chinese_bleu if script == "han" else self._bleu
        chrf = Score("chrf", self._chrf.sentence_score(hypothesis, [reference]).score / 100)
        if script == "unspaced":
            first = Score("bleu", None, status=UNREADABLE)
        else:
            first = Score("bleu", bleu.sentence_score(hypothesis, [reference]).score / 100)
        if script != "latin":
            unread = ("rouge_l", self._meteor.name, "rule_green_2025")
            return [first, chrf, *(Score(metric, None, status=UNREADABLE) for metric in unread)]
        return [
            first,
            chrf,
            Score("rouge_l", self._rouge.score(reference, hypothesis)["rougeL"].fmeasure),
            Score(self._meteor.name, self._meteor.score(reference, hypothesis)),
            Score("rule_green_2025", rule_green(pair.reference, pair.hypothesis)["overall"]),
        ]


def has_prior(row: Row) -> bool:
    """Whether a row shows an earlier examination beside the current one."""
    return any(image.role.split(" ")[0] == "prior" for image in row.images)


def temporal(pair: Pair) -> Score:
    """Temporal F1 of a report that has a prior image to compare with; its words are English."""
    if script_of(pair.reference) != "latin":
        return Score("temporal_f1", None, status=UNREADABLE)
    return Score("temporal_f1", temporal_f1(pair.reference, pair.hypothesis))


def write_reports(
    *, split: Path, predictions: Path, judgements: list[Path], out: Path, findings: Path, nltk_data: Path | None = None
) -> None:
    """Score the reports of one system and list the findings that judges name.

    Args:
        split: table of the split's rows.
        predictions: table of the system's predictions.
        judgements: tables of judged pairs, of all judges and shards, of this system's pairs among others.
        out: table of report scores to write.
        findings: table of the judges' findings to write.
        nltk_data: nltk's folder with WordNet; without it, METEOR has no synonyms.

    Raises:
        BadFile: a judge has judged some pair, but not one of this system's.
    """
    answers = read_rows(predictions, Prediction)
    systems = sorted({answer.system for answer in answers})
    if len(systems) != 1:
        raise BadFile(f"{predictions}: expected the predictions of one system, found {', '.join(systems) or 'none'}")
    split_rows = read_rows(split, Row)
    pairs = pairs_of(split_rows, {answer.uid: answer.text for answer in answers})
    compared = {row.uid for row in split_rows if has_prior(row)}
    lexical = Lexical(nltk_data)
    scores = {pair: lexical.scores(pair) for pair in dict.fromkeys(pairs.values())}
    by_judge: dict[str, dict[str, JudgedPair]] = {}
    for path in judgements:
        for judged in read_rows(path, JudgedPair):
            by_judge.setdefault(judged.judge, {})[judged.pair] = judged
    for judge, by_key in by_judge.items():
        weights = frozen_weights(by_key.values())
        for pair, of_pair in scores.items():
            if pair.key not in by_key:
                raise BadFile(
                    f"the tables of judge {judge} ({', '.join(map(str, judgements))}) lack a judgement of "
                    f"{pair.hypothesis[:40]!r}; judge these predictions again"
                )
            of_pair += judged_scores(by_key[pair.key], weights.get(pair.reference))
    rows = [
        ReportScore(uid, systems[0], score.metric, score.judge, score.stratum, score.value, score.status)
        for uid, pair in pairs.items()
        for score in (*scores[pair], *([temporal(pair)] if uid in compared else []))
    ]
    write_rows(out, rows, ReportScore)
    keys = {pair.key for pair in [*scores, *self_pairs(scores)]}
    own = [judged for by_key in by_judge.values() for key, judged in by_key.items() if key in keys]
    write_rows(findings, findings_of_pairs(own), JudgedFinding)


if __name__ == "__main__":
    run_step(write_reports)
