"""Answers that recorded judges grade, through the steps of a run."""

import json
from dataclasses import replace
from pathlib import Path

from tests.score.conftest import row
from tests.score.rubric_cases import GradedCase, cases
from workflow_scripts.core.config.judges import Judge, JudgeSection, RecordedJudge, Validity
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.rows import JudgedFinding, JudgedPair, MetricValue, Prediction, Row
from workflow_scripts.core.rubrics.rows import ValidityMeasure
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.score.judge import judge
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.reports import write_reports
from workflow_scripts.score.validity import write_validity

SCORING = Scoring(resamples=200)
GRADED = [case for case in cases() if case.rubric == '"bond"']


def reply(case: GradedCase, score: float | str) -> str:
    """A reply that gives an answer this score."""
    return json.dumps({"reason": "", "score": score})


def recorded(
    folder: Path, name: str, replies: list[tuple[GradedCase, str]], human: list[GradedCase] | None = GRADED
) -> Judge:
    """A judge that replies so, and the human scores of these cases."""
    lines = [
        {"question": case.question, "rubric": json.loads(case.rubric)}
        | {"reference": case.reference, "hypothesis": case.answer, "reply": text}
        for case, text in replies
    ]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    validity = None
    if human is not None:
        of_humans = folder / f"{name}-human.jsonl"
        of_humans.write_text("".join(json.dumps(human_line(case)) + "\n" for case in human))
        validity = Validity(path=str(of_humans))
    return RecordedJudge(metric="rubric", path=str(path), retries=0, invalid_share=1.0, validity=validity)


def human_line(case: GradedCase, *scores: float) -> dict:
    """A record of human scores."""
    fields = {"question": case.question, "reference": case.reference, "hypothesis": case.answer}
    return fields | {"rubric": json.loads(case.rubric), "scores": list(scores) or [case.score]}


class Judged:
    """A split of graded answers, judged by recorded judges through the steps of a run."""

    def __init__(self, folder: Path, listed: list[GradedCase]):
        self.folder, self.store = folder, folder / "store"
        self.rows = [
            replace(row(place, "free_response", case.reference), question=case.question, rubric=case.rubric)
            for place, case in enumerate(listed)
        ]
        self.split, self.predictions = folder / "split.parquet", folder / "predictions.parquet"
        write_rows(self.split, self.rows, Row)
        answers = [Prediction(r.uid, "base", case.answer, "stop") for r, case in zip(self.rows, listed, strict=True)]
        write_rows(self.predictions, answers, Prediction)

    def judged(self, name: str, section: Judge, record: Path | None = None) -> list[JudgedPair]:
        """What a judge says of the split; `record`: of the checkpoint of one that is loaded here."""
        out = self.folder / f"{name}.parquet"
        flags = {"name": name, "spec": JudgeSection(section), "store": self.store, "model": record}
        judge(split=self.split, predictions=[self.predictions], out=out, **flags)
        return read_rows(out, JudgedPair)

    def measured(self, name: str, section: Judge, record: Path | None = None) -> list[ValidityMeasure]:
        """How far it agrees with human scores."""
        paths = {key: self.folder / f"{name}-{key}.parquet" for key in ("out", "scores", "calibration")}
        flags = {"name": name, "spec": JudgeSection(section), "store": self.store, "model": record}
        write_validity(scoring=SCORING, table=self.folder / f"{name}-table.csv", **flags, **paths)
        return read_rows(paths["out"], ValidityMeasure)

    def metrics(self, *names: str) -> list[MetricValue]:
        scores, outcomes, values = (self.folder / f"{name}.parquet" for name in ("scores", "outcomes", "metrics"))
        validity = [path for name in names if (path := self.folder / f"{name}-out.parquet").is_file()]
        write_reports(
            split=self.split,
            predictions=self.predictions,
            judgements=[self.folder / f"{name}.parquet" for name in names],
            validity=validity,
            out=scores,
            findings=self.folder / "findings.parquet",
        )
        assert read_rows(self.folder / "findings.parquet", JudgedFinding) == []
        write_outcomes(split=self.split, predictions=self.predictions, system="base", out=outcomes)
        write_metrics(outcomes=[outcomes], report_scores=[scores], scoring=SCORING, out=values)
        return read_rows(values, MetricValue)
