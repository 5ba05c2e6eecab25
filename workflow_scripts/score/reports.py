"""Scores of the free texts of one system: CRIMSON and GREEN of reports, rubrics' of responses, and of the texts.

Beside them, the findings that the judges name. Rubric scores of a judge whose validity is not shown carry a note.

`python -m workflow_scripts.score.reports --split S.parquet --predictions P.parquet --judgements J.parquet …
[--validity V.parquet …] [--nltk-data FOLDER] --out R.parquet --findings F.parquet`
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import sacrebleu

from workflow_scripts.core.command import run_step, without
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.metrics import Note
from workflow_scripts.core.rows import JudgedFinding, JudgedPair, Prediction, ReportScore, Row
from workflow_scripts.core.rubrics.rows import ValidityMeasure
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.judges.crimson import JudgementJSON, crimson, read_crimson
from workflow_scripts.judges.green import green, read_green
from workflow_scripts.judges.judgements import Pair, pairs_of, self_pairs
from workflow_scripts.judges.prompts import question_and_rubric
from workflow_scripts.judges.rubrics.reply import read_rubric
from workflow_scripts.judges.rule_based.judge import green_counts
from workflow_scripts.score.judged.findings import RULE_BASED, findings_of_pairs, judgement_of
from workflow_scripts.tasks.report.meteor import Meteor
from workflow_scripts.tasks.report.rule_green import rule_green
from workflow_scripts.tasks.report.scripts import script_of
from workflow_scripts.tasks.report.temporal import temporal_f1

with without("sklearn", "scipy", "pandas"):  # which nltk's classifiers and measures of association would import
    from rouge_score.rouge_scorer import RougeScorer


class Score(NamedTuple):
    """A score of a pair of texts; fields as in `ReportScore`."""

    metric: str
    value: float | None
    judge: str | None = None
    stratum: str | None = None
    status: str = "valid"
    note: str | None = None


RubricNotes = Mapping[tuple[str, str], Note | None]
"""By judge and rubric: why the judge's scores of it are not to be relied on; no entry: no human scores were given."""


def notes_of(measures: Iterable[ValidityMeasure]) -> RubricNotes:
    """What the validity of judges says of their scores."""
    return {(line.judge, line.rubric): None if line.valid else "below_validity" for line in measures if line.decisive}


def rubric_scores(pair: JudgedPair, notes: RubricNotes) -> list[Score]:
    """The score of an answer on its rubric's scale, and those of the rubric's named parts as strata."""
    rubric = question_and_rubric(Pair(pair.reference, pair.hypothesis, pair.context))[1]
    note = notes.get((pair.judge, rubric.name), "no_validity")
    if pair.status != "valid":
        return [Score(rubric.name, None, pair.judge, status=pair.status, note=note)]
    grades = read_rubric(pair.reply, rubric)
    parts = grades.parts(rubric).items()
    return [
        Score(rubric.name, grades.score(rubric), pair.judge, note=note),
        *(Score(rubric.name, value, pair.judge, part, note=note) for part, value in parts),
    ]


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

    def scores(self, pair: Pair, *, of_report: bool = True) -> list[Score]:
        """Scores of one pair; the libraries' in lower case. Rule-GREEN is of reports alone."""
        reference, hypothesis = pair.reference.lower(), pair.hypothesis.lower()
        script = script_of(pair.reference)
        bleu = self._chinese_bleu if script == "han" else self._bleu
        chrf = Score("chrf", self._chrf.sentence_score(hypothesis, [reference]).score / 100)
        if script == "unspaced":
            first = Score("bleu", None, status=UNREADABLE)
        else:
            first = Score("bleu", bleu.sentence_score(hypothesis, [reference]).score / 100)
        if script != "latin":
            unread = ("rouge_l", self._meteor.name, *(("rule_green_2025",) if of_report else ()))
            return [first, chrf, *(Score(metric, None, status=UNREADABLE) for metric in unread)]
        scores = [
            first,
            chrf,
            Score("rouge_l", self._rouge.score(reference, hypothesis)["rougeL"].fmeasure),
            Score(self._meteor.name, self._meteor.score(reference, hypothesis)),
        ]
        if of_report:
            scores.append(Score("rule_green_2025", rule_green(pair.reference, pair.hypothesis)["overall"]))
        return scores


def has_prior(row: Row) -> bool:
    """Whether a row shows an earlier examination beside the current one."""
    return any(image.role.split(" ")[0] == "prior" for image in row.images)


def temporal(pair: Pair) -> Score:
    """Temporal F1 of a report that has a prior image to compare with; its words are English."""
    if script_of(pair.reference) != "latin":
        return Score("temporal_f1", None, status=UNREADABLE)
    return Score("temporal_f1", temporal_f1(pair.reference, pair.hypothesis))


def write_reports(
    *,
    split: Path,
    predictions: Path,
    judgements: list[Path],
    out: Path,
    findings: Path,
    validity: Sequence[Path] = (),
    nltk_data: Path | None = None,
) -> None:
    """Score the free texts of one system and list the findings that judges name.

    Args:
        split: table of the split's rows.
        predictions: table of the system's predictions.
        judgements: tables of judged pairs, of all judges and shards, of this system's pairs among others.
        out: table of report scores to write.
        findings: table of the judges' findings to write.
        validity: tables of how far judges of rubrics agree with human scores.
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
    reports, graded = {*pairs_of(split_rows, {}, "reports")}, {*pairs_of(split_rows, {}, "rubrics")}
    lexical = Lexical(nltk_data)
    scores: dict[Pair, list[Score]] = {}
    for uid, pair in pairs.items():
        if pair not in scores:
            scores[pair] = lexical.scores(pair, of_report=uid in reports)
    notes = notes_of(line for path in validity for line in read_rows(path, ValidityMeasure))
    pairs_of_reports, pairs_of_rubrics = {pairs[uid] for uid in reports}, {pairs[uid] for uid in graded}
    by_judge: dict[str, dict[str, JudgedPair]] = {}
    for path in judgements:
        for judged in read_rows(path, JudgedPair):
            by_judge.setdefault(judged.judge, {})[judged.pair] = judged
    for judge, by_key in by_judge.items():
        weights = frozen_weights(by_key.values())
        of_rubrics = any("rubric" in judged.metrics for judged in by_key.values())
        for pair in pairs_of_rubrics if of_rubrics else pairs_of_reports:
            if pair.key not in by_key:
                raise BadFile(
                    f"the tables of judge {judge} ({', '.join(map(str, judgements))}) lack a judgement of "
                    f"{pair.hypothesis[:40]!r}; judge these predictions again"
                )
            judged = by_key[pair.key]
            scores[pair] += (
                rubric_scores(judged, notes) if of_rubrics else judged_scores(judged, weights.get(pair.reference))
            )
    rows = [
        ReportScore(uid, systems[0], score.metric, score.judge, score.stratum, score.value, score.status, score.note)
        for uid, pair in pairs.items()
        for score in (*scores[pair], *([temporal(pair)] if uid in compared and uid in reports else []))
    ]
    write_rows(out, rows, ReportScore)
    keys = {pair.key for pair in [*scores, *self_pairs(scores)]}
    named = [judged for by_key in by_judge.values() for key, judged in by_key.items() if key in keys]
    write_rows(findings, findings_of_pairs(named), JudgedFinding)


if __name__ == "__main__":
    run_step(write_reports)
