"""The tables of scores and gaps by group: a value's score is that of its rows alone, and each row counts once."""

from dataclasses import replace

import numpy as np
import pytest

from tests.score.conftest import LETTER, prediction, row
from tests.score.grouped import SCORING, excludes_zero
from workflow_scripts.core.config.scoring import Groups
from workflow_scripts.core.groups.rows import GroupGap, GroupValue
from workflow_scripts.core.rows import Group, Outcome, Prediction, ReportScore, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.score.groups import scores_by_group, write_groups
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.task_facts import facts_of_tasks, metric_values, parts_of
from workflow_scripts.tasks.report.metrics import ScoreKey

HOSPITALS = ["Łódź <b>", "=cmd()", "C"]


def hospital_rows(count: int = 96) -> list[Row]:
    """Two subsets of letters, two rows a case; two hospitals bear half each, the third two cases, some rows none."""
    rows = []
    for place in range(count):
        case = place // 2
        name = HOSPITALS[2] if case < 2 else "" if case == 2 else HOSPITALS[case % 2]
        groups = (Group("hospital", name), Group("sex", "FM"[place % 2])) if name else (Group("sex", "F"),)
        subset = "one" if case % 4 < 2 else "two"
        rows.append(row(place, "classification", "AB"[place % 3 == 0], expected=LETTER, subset=subset, groups=groups))
    return rows


@pytest.fixture(scope="module")
def step(tmp_path_factory):
    """Rows, outcomes, values and gaps of two systems; the second is wrong in the second hospital."""
    folder = tmp_path_factory.mktemp("groups")
    rows = hospital_rows()
    write_rows(folder / "rows.parquet", rows, Row)
    paths = []
    for system in ("base", "tuned"):
        wrong = {
            entry.uid
            for place, entry in enumerate(rows)
            if place % 5 == 0 or (system == "tuned" and Group("hospital", HOSPITALS[1]) in entry.groups)
        }
        texts = {entry.uid: "AB"[(entry.answer == "A") == (entry.uid in wrong)] for entry in rows}
        texts[rows[-1].uid] = "no letter"
        write_rows(
            folder / f"{system}.parquet", [prediction(uid, text, system) for uid, text in texts.items()], Prediction
        )
        paths.append(folder / f"{system}.outcomes")
        write_outcomes(
            split=folder / "rows.parquet", predictions=folder / f"{system}.parquet", system=system, out=paths[-1]
        )
    write_groups(
        split=folder / "rows.parquet", outcomes=paths,
        groups=Groups(columns=("hospital", "sex", "scanner"), least_cases=5),
        scoring=SCORING, out=folder / "g.parquet", gaps=folder / "d.parquet", baselines=["base"],
    )  # fmt: skip
    outcomes = [read_rows(path, Outcome) for path in paths]
    return rows, outcomes, read_rows(folder / "g.parquet", GroupValue), read_rows(folder / "d.parquet", GroupGap)


def test_a_value_has_the_score_of_its_rows_alone(step):
    """Against the metrics of outcomes of which those of other hospitals were taken away."""
    rows, outcomes, values, _ = step
    for name in HOSPITALS:
        uids = {entry.uid for entry in rows if Group("hospital", name) in entry.groups}
        (task,) = facts_of_tasks([[outcome for outcome in table if outcome.uid in uids] for table in outcomes], {})
        for system in ("base", "tuned"):
            expected = {
                m.subset: m for m in metric_values(task, system, parts_of(task, SCORING)[system], SCORING) if m.primary
            }
            lines = {v.subset: v for v in values if (v.group, v.value, v.system) == ("hospital", name, system)}
            for subset in expected.keys() & lines.keys() - ({"macro"} if name == "C" else set()):
                line, metric = lines[subset], expected[subset]
                assert (line.score, line.rows, line.clusters) == (metric.value, metric.rows, metric.clusters)
                assert line.valid_share == metric.valid_share and line.note == metric.note


def test_rows_are_counted_once_each_and_those_without_a_hospital_are_shown(step):
    rows, _, values, _ = step
    for subset in ("one", "two"):
        lines = [v for v in values if (v.group, v.system, v.subset) == ("hospital", "base", subset)]
        assert sum(line.rows for line in lines) == sum(entry.subset == subset for entry in rows)
    lines = {v.value: v for v in values if (v.group, v.system, v.subset) == ("hospital", "base", "two")}
    assert set(lines) == {*HOSPITALS[:2], ""} and not lines[""].ranked
    assert lines[HOSPITALS[0]].valid_low <= lines[HOSPITALS[0]].valid_share <= lines[HOSPITALS[0]].valid_high


def test_few_cases_are_shown_and_not_ranked(step):
    _, _, values, gaps = step
    few = [v for v in values if v.value == "C"]
    assert few and not any(v.ranked for v in few) and all(v.note == "few_rows" for v in few)
    assert {name for line in gaps for name in (line.first, line.second)} <= {*HOSPITALS[:2], "F", "M"}


def test_the_systems_own_gap_is_seen_and_the_baselines_is_not_tested(step):
    _, _, _, gaps = step
    (base,), (tuned,) = (
        [g for g in gaps if (g.group, g.system, g.subset, g.kind) == ("hospital", system, "macro", "range")]
        for system in ("base", "tuned")
    )
    assert excludes_zero(tuned) and tuned.p_adjusted < 0.05 and (tuned.first, tuned.second) == tuple(HOSPITALS[:2])
    assert base.p is not None and base.p_adjusted is None


def test_cases_of_both_sexes_stay_whole(step):
    """Rows of a case differ in sex: their labels change places within the case, and the case is drawn as one."""
    _, _, values, gaps = step
    line = next(g for g in gaps if (g.group, g.system, g.subset) == ("sex", "tuned", "macro"))
    assert not excludes_zero(line) and line.clusters == 48 and line.rows == 96
    assert {v.value for v in values if v.group == "sex"} == {"F", "M"}


def test_a_group_that_no_row_states_is_said(step, capsys, tmp_path):
    rows, outcomes, values, _ = step
    assert not [v for v in values if v.group == "scanner"]
    write_rows(tmp_path / "rows.parquet", rows, Row)
    write_rows(tmp_path / "o", outcomes[0], Outcome)
    write_groups(
        split=tmp_path / "rows.parquet", outcomes=[tmp_path / "o"], groups=Groups(columns=("scaner",)), scoring=SCORING,
        out=tmp_path / "g", gaps=tmp_path / "d",
    )  # fmt: skip
    assert "no row of this split states 'scaner'; its rows state 'hospital', 'sex'" in capsys.readouterr().err
    assert read_rows(tmp_path / "g", GroupValue) == [] and read_rows(tmp_path / "d", GroupGap) == []


def test_a_value_without_a_metric_takes_no_part_and_the_others_do():
    """No judge scored the reports of hospital C."""
    rows = [replace(r, groups=(Group("hospital", "ABC"[n % 3]),)) for n, r in enumerate(report_rows(90))]
    scores = {r.uid: (None, "invalid") if n % 3 == 2 else (0.9 - 0.5 * (n % 3) + n / 1000, "valid")
              for n, r in enumerate(rows)}  # fmt: skip
    outcomes = [report_outcome(r) for r in rows]
    tasks = facts_of_tasks([outcomes], {"base": {ScoreKey("crimson", "lab"): scores}})
    values, (line, *_) = scores_by_group(tasks, rows, Groups(columns=("hospital",)), SCORING)
    assert {v.value: (v.score is None, v.ranked) for v in values if v.subset == "macro"} == {
        "A": (False, True), "B": (False, True), "C": (True, False)
    }  # fmt: skip
    assert (line.first, line.second, line.values) == ("A", "B", 2) and excludes_zero(line)


def test_an_unranked_value_of_one_subset_has_a_number_beside_the_mean(step):
    """Hospital C has its two cases in one of the two subsets."""
    _, _, values, _ = step
    lines = {v.subset: v for v in values if (v.group, v.value, v.system) == ("hospital", "C", "base")}
    assert len(lines) == 2 and not lines["macro"].ranked
    (own,) = (line for subset, line in lines.items() if subset != "macro")
    mean = lines["macro"]
    assert mean.score is not None and (mean.score, mean.rows, mean.clusters) == (own.score, own.rows, own.clusters)
    assert (mean.low, mean.high, mean.valid_share) == (own.low, own.high, own.valid_share)


def report_outcome(entry: Row) -> Outcome:
    """A report that is read."""
    texts = {"strict": '"x"', "lenient": '"x"', "reference": '"y"', "reference_raw": '"y"', "text": "x", "answer": "x"}
    return Outcome(uid=entry.uid, system="base", subset=entry.subset, task=entry.task, case_id=entry.case_id,
                   outcome="valid", percent=False, thought=False, **texts)  # fmt: skip


def report_rows(count: int) -> list[Row]:
    """Reports of a case each, of two hospitals in turns."""
    return [
        row(place, "report", "Normal.", case_id=f"c{place}", groups=(Group("hospital", "AB"[place % 2]),))
        for place in range(count)
    ]


def test_reports_are_scored_by_group_with_the_judges_metric():
    rows = report_rows(60)
    outcomes = [report_outcome(r) for r in rows]
    judged = {r.uid: (0.9 - 0.5 * (place % 2) + place / 1000, "valid") for place, r in enumerate(rows)}
    scores = judged | {r.uid: (None, "invalid") for r in rows[:2]}
    tasks = facts_of_tasks([outcomes], {"base": {ScoreKey("crimson", "lab"): scores}})
    values, gaps = scores_by_group(tasks, rows, Groups(columns=("hospital",)), SCORING)
    line = next(v for v in values if (v.subset, v.value) == ("macro", "B"))
    expected = np.mean([value for place in range(3, 60, 2) if (value := scores[rows[place].uid][0]) is not None])
    assert (line.metric, line.judge, line.score) == ("crimson", "lab", pytest.approx(expected))
    assert line.valid_share == pytest.approx(29 / 30)
    assert excludes_zero(gaps[0]) and (gaps[0].first, gaps[0].second) == ("A", "B")


def test_report_scores_of_the_table_are_read(tmp_path):
    """The step reads what `score.reports` writes, as the metrics do."""
    rows = report_rows(8)
    write_rows(tmp_path / "rows.parquet", rows, Row)
    write_rows(tmp_path / "p.parquet", [prediction(r.uid, "Normal.") for r in rows], Prediction)
    write_outcomes(
        split=tmp_path / "rows.parquet", predictions=tmp_path / "p.parquet", system="base", out=tmp_path / "o"
    )
    scores = [ReportScore(r.uid, "base", "crimson", "lab", None, 0.5, "valid") for r in rows]
    write_rows(tmp_path / "s.parquet", scores, ReportScore)
    write_groups(
        split=tmp_path / "rows.parquet", outcomes=[tmp_path / "o"], groups=Groups(columns=("hospital",), least_cases=2),
        scoring=SCORING, out=tmp_path / "g", gaps=tmp_path / "d", report_scores=[tmp_path / "s.parquet"],
    )  # fmt: skip
    values = read_rows(tmp_path / "g", GroupValue)
    assert {(v.metric, v.judge, v.score) for v in values} == {("crimson", "lab", 0.5)}
    (line,) = [g for g in read_rows(tmp_path / "d", GroupGap) if g.subset == "macro"]
    assert (line.gap, line.low, line.high, line.p_adjusted) == (0.0, 0.0, 0.0, 1.0)
