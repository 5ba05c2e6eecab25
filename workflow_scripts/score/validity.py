"""How far a judge of rubrics agrees with recorded human scores, by rubric: measures, calibration, abstentions.

The judge scores the answers through the same path, prompts and store as those of a split.

`python -m workflow_scripts.score.validity --name NAME --spec JSON --scoring JSON --store DIR --out V.parquet
--scores S.parquet --calibration C.parquet --table T.csv`
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pv

from workflow_scripts.cache.given_files import reading
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.config.judges import (
    AgreementMeasure,
    JudgeSection,
    RecordedJudge,
    RuleBasedJudge,
    Validity,
)
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import atomic
from workflow_scripts.core.rubrics.rows import CalibrationPoint, ValidityMeasure, ValidityScore
from workflow_scripts.core.tables import table_of, write_rows
from workflow_scripts.judges.judgements import Judgement, Store, is_lost, judge_pairs
from workflow_scripts.judges.rubrics.reply import score_of
from workflow_scripts.score.judge import backend_of
from workflow_scripts.score.judged.agreement import (
    DISTANCES,
    calibration,
    drawn_interval,
    kappa,
    pairs_of_raters,
    pairs_with_judge,
)
from workflow_scripts.score.judged.human import HumanScore, read_human_scores
from workflow_scripts.score.statistics import seed_for

LEAST_SCORED = 0.5
"""Share of the answers to which a judge must give a score: agreement on a chosen few says nothing of the others."""


def scores_of(judge: str, records: Iterable[HumanScore], judgements: Iterable[Judgement]) -> list[ValidityScore]:
    """Human scores beside the judge's, by rubric and pair."""
    rows = [
        ValidityScore(
            judge,
            record.rubric.name,
            record.pair.key,
            judgement.status,
            score_of(judgement.reply, record.rubric) if judgement.status == "valid" else None,
            record.scores,
        )
        for record, judgement in zip(records, judgements, strict=True)
    ]
    return sorted(rows, key=lambda row: (row.rubric, row.pair))


def measures_of(rows: Sequence[ValidityScore], validity: Validity, scoring: Scoring) -> list[ValidityMeasure]:
    """Every measure of one judge on one rubric.

    The judge is valid where the configuration's measure reaches `at_least` and at least half of the answers have a
    score. Where the measure is undefined, since all scores are one, the judge is not valid.
    """
    judge, rubric = rows[0].judge, rows[0].rubric
    scored = [row for row in rows if row.score is not None]
    scores, human = [row.score or 0.0 for row in scored], [row.human for row in scored]
    enough = len(scored) >= LEAST_SCORED * len(rows)
    decisive = kappa(*pairs_with_judge(scores, human), validity.measure)
    valid = enough and bool(decisive >= validity.at_least)

    def chosen(places: np.ndarray) -> tuple[list[float], list[tuple[float, ...]]]:
        return [scores[place] for place in places], [human[place] for place in places]

    def bias(places: np.ndarray) -> float:
        given, of_raters = chosen(places)
        return float(np.mean([score - np.mean(h) for score, h in zip(given, of_raters, strict=True)]))

    def between_raters(places: np.ndarray) -> float:
        return kappa(*pairs_of_raters([rows[place].human for place in places]), validity.measure)

    def agreement(measure: AgreementMeasure) -> Callable[[np.ndarray], float]:
        return lambda places: kappa(*pairs_with_judge(*chosen(places)), measure)

    statistics: dict[str, tuple[Callable[[np.ndarray], float], int]] = {
        **{measure: (agreement(measure), len(scored)) for measure in DISTANCES},
        "bias": (bias, len(scored)),
        "raters": (between_raters, len(rows)),
    }
    most = max(len(row.human) for row in rows)
    measures = []
    for name, (statistic, answers) in statistics.items():
        if name == "raters" and most < 2:
            continue
        seed = seed_for(scoring.seed, "validity", rubric, name)
        drawn = drawn_interval(statistic, answers, scoring.resamples, seed, scoring.confidence) if answers else None
        value, low, high = drawn or (float("nan"), None, None)
        measures.append(
            ValidityMeasure(
                judge=judge,
                rubric=rubric,
                measure=name,
                value=None if np.isnan(value) else value,
                low=low,
                high=high,
                answers=len(rows),
                scored=len(scored),
                abstained=sum(row.status == "abstained" for row in rows),
                invalid=sum(row.status == "invalid" for row in rows),
                raters=most,
                decisive=name == validity.measure,
                at_least=validity.at_least,
                valid=valid,
            )
        )
    return measures


def calibration_of(rows: Sequence[ValidityScore], scoring: Scoring) -> list[CalibrationPoint]:
    """The mean human score by the judge's, on one rubric."""
    scored = [row for row in rows if row.score is not None]
    if not scored:
        return []
    human = np.array([np.mean(row.human) for row in scored])

    def mean_of(values: np.ndarray) -> Callable[[np.ndarray], float]:
        return lambda drawn: float(values[drawn].mean())

    points = []
    for score, places in calibration([row.score or 0.0 for row in scored], human.tolist()):
        seed = seed_for(scoring.seed, "calibration", rows[0].rubric, f"{score:.6f}")
        mean, low, high = drawn_interval(
            mean_of(human[places]),
            len(places),
            scoring.resamples,
            seed,
            scoring.confidence,
        )
        points.append(CalibrationPoint(rows[0].judge, rows[0].rubric, score, mean, low, high, len(places)))
    return points


def write_validity(
    *,
    name: str,
    spec: JudgeSection,
    scoring: Scoring,
    store: Path,
    out: Path,
    scores: Path,
    calibration: Path,
    table: Path,
    model: Path | None = None,
    content: Sequence[str] = (),
    seen: Path | None = None,
) -> str:
    """Compare a judge with recorded human scores, rubric by rubric.

    Args:
        name: the judge's name in the configuration.
        spec: its section, with `validity`.
        scoring: the configuration's `scoring` as JSON.
        store: folder of stored judgements, shared by runs.
        out: table of measures to write.
        scores: table to write of each answer's scores.
        calibration: table to write of the mean human score by the judge's.
        table: CSV to write of the measures.
        model: record of the checkpoint, for a judge that is loaded here.
        content: what the plan calls the state of the file of human scores, and of a recorded judge's file.
        seen: where to note what was read of the file of human scores, for later plans.

    Raises:
        Refused: the section has no `validity`, or the judge gives no reply.
        BadFile: the human scores cannot be used.
    """
    section = spec.root
    if isinstance(section, RuleBasedJudge) or section.validity is None:
        raise Refused(f"judges.{name} has no `validity`; give the path of recorded human scores")
    if seen is None:
        records = read_human_scores(section.validity.file)
    else:
        with reading(section.validity.file, seen, content[0] if content else ""):
            records = read_human_scores(section.validity.file)
    if isinstance(section, RecordedJudge) and seen is not None:
        with reading(section.file, seen.with_suffix(".replies.json"), content[1] if len(content) > 1 else ""):
            backend = backend_of(section)
    else:
        backend = backend_of(section, model)
    pairs = [record.pair for record in records]
    judged = judge_pairs(pairs, Store(store, backend.identity), backend, section.retries, name)
    if lost := [judgement for judgement in judged.values() if is_lost(judgement)]:
        raise Refused(
            f"judge {name}: {len(lost)} of {len(pairs)} answers with human scores got no reply ({lost[0].reason}); its "
            "validity would say nothing; run again when it replies"
        )
    rows = scores_of(name, records, [judged[pair] for pair in pairs])
    measures, points = [], []
    for rubric in dict.fromkeys(row.rubric for row in rows):
        own = [row for row in rows if row.rubric == rubric]
        measures += measures_of(own, section.validity, scoring)
        points += calibration_of(own, scoring)
    write_rows(out, measures, ValidityMeasure)
    write_rows(scores, rows, ValidityScore)
    write_rows(calibration, points, CalibrationPoint)
    with atomic(table) as temporary:
        pv.write_csv(pa.Table.from_batches(table_of(measures, ValidityMeasure).to_batches()), temporary)
    return "\n".join(
        f"{name} on {line.rubric}: {line.measure} "
        + ("undefined" if line.value is None else f"{line.value:.3f}")
        + f", {line.scored} of {line.answers} answers scored: "
        + ("relied on" if line.valid else f"grey, below {line.at_least:g} or with too few scores")
        for line in measures
        if line.decisive
    )


if __name__ == "__main__":
    run_step(write_validity)
