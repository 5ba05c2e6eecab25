"""What judges say of each report: the findings they name, and every score of the report."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.rows import JudgedFinding, Prediction, ReportScore, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.judges.judgements import pairs_of
from workflow_scripts.report.cases.scores import Key


@dataclass(frozen=True)
class ReportDetails:
    """Findings and scores of reports, by uid and system."""

    findings: Mapping[Key, list[JudgedFinding]]
    scores: Mapping[Key, list[ReportScore]]


def read_report_details(
    rows: Sequence[Row],
    answers: Mapping[str, Iterable[Prediction]],
    findings: Mapping[str, Path],
    scores: Iterable[Path],
) -> ReportDetails:
    """Findings and scores of every report.

    Args:
        rows: of the split.
        answers: each system's answers.
        findings: each system's table of findings.
        scores: tables of report scores.
    """
    reports = [row for row in rows if pairs_of([row], {})]
    uids = {row.uid for row in reports}
    of_key: dict[Key, list[JudgedFinding]] = {}
    for system, path in findings.items():
        by_pair: dict[str, list[JudgedFinding]] = defaultdict(list)
        for finding in read_rows(path, JudgedFinding):
            by_pair[finding.pair].append(finding)
        texts = {answer.uid: answer.text for answer in answers[system] if answer.uid in uids}
        for uid, pair in pairs_of(reports, texts).items():
            if pair.key in by_pair:
                of_key[uid, system] = by_pair[pair.key]
    of_score: dict[Key, list[ReportScore]] = defaultdict(list)
    for path in scores:
        for score in read_rows(path, ReportScore):
            if score.stratum is None:
                of_score[score.uid, score.system].append(score)
    return ReportDetails(of_key, of_score)
