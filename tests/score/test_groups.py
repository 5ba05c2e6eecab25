"""Scores by group: a value's score is that of its rows alone; a planted gap is seen, and shuffled labels have none."""

from dataclasses import replace

import numpy as np
import pytest

from tests.score.conftest import LETTER, prediction, row
from workflow_scripts.core.config.scoring import Groups, Scoring
from workflow_scripts.core.groups.rows import GroupGap, GroupValue
from workflow_scripts.core.metrics import ScoredAnswer
from workflow_scripts.core.rows import Group, Outcome, Prediction, ReportScore, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part
from workflow_scripts.score.grouping import gaps
from workflow_scripts.score.grouping.cuts import cut_by, values_of
from workflow_scripts.score.grouping.estimates import estimates_of, measured
from workflow_scripts.score.grouping.gaps import Estimates, permutations, range_of, simultaneous
from workflow_scripts.score.groups import gap_lines, scores_by_group, write_groups
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.task_facts import TaskFacts, facts_of_tasks, metric_values, parts_of
from workflow_scripts.tasks.report.metrics import ScoreKey

SEEDS = 80
LEVEL = 0.05
MOST = LEVEL + 2.6 * (LEVEL * (1 - LEVEL) / SEEDS) ** 0.5
"""Share of false alarms that an interval of that level exceeds once in two hundred times."""
SCORING = Scoring(resamples=100)


def answered(
    rng: np.random.Generator, task: str, sizes: list[int], ability: list[float], rows_of_case: int = 1
) -> tuple[TaskFacts, list[str]]:
    """A task of two classes, or of numbers, and each row's hospital.

    Args:
        rng: of the answers.
        task: with classes or with numbers.
        sizes: cases by hospital.
        ability: by hospital: share of right rows, or mean error.
        rows_of_case: rows of a case; half of them are right or wrong together.
    """
    answers, hospitals = [], []
    for hospital, (size, level) in enumerate(zip(sizes, ability, strict=True)):
        for case in range(size):
            shared = rng.random()
            for _ in range(rows_of_case):
                luck = shared if rng.random() < 0.5 else rng.random()
                reference: object = "ab"[int(rng.random() < 0.3)]
                answer: object = reference if luck < level else "ab"[int(reference == "a")]
                if task == "counting":
                    reference = float(rng.integers(1, 60))
                    answer = reference + rng.exponential(level) * 2 * shared
                uid, case_id = f"u{len(answers)}", f"{hospital}-{case}"
                answers.append(ScoredAnswer(uid, "ds", case_id, "valid", answer, answer, reference, str(answer)))
                hospitals.append("ABCDEFGH"[hospital])
    facts = load_part(task, "metrics").facts(answers)
    subsets, cases = np.array(["ds"] * len(answers)), np.array([answer.case_id for answer in answers])
    return TaskFacts(task, [answer.uid for answer in answers], subsets, cases, {"base": facts}), hospitals


def gaps_of(task: TaskFacts, hospitals: list[str], seed: int, least_cases: int = 10) -> list[GroupGap]:
    """The gaps of the one system between hospitals."""
    scoring = SCORING.model_copy(update={"seed": seed})
    values, one = values_of(hospitals), measured("base", task.systems["base"])
    cut = cut_by(task, values, least_cases)["ds"]
    place = estimates_of(task, [one], cut, "ds", "hospital", scoring)["base"]
    return gap_lines(task, one, place, "hospital", values.names, scoring.confidence)


def excludes_zero(line: GroupGap) -> bool:
    return line.low is not None and line.high is not None and (line.low > 0 or line.high < 0)


def alarms(task: str, sizes: list[int], level: float, rows_of_case: int = 1) -> np.ndarray:
    """Shares of simulations of equal hospitals in which something looks like a gap.

    Of: the range's interval, its p value, some hospital's interval against the rest, and the usual interval of the two
    hospitals that happen to be apart most.
    """
    seen = np.zeros(4)
    for seed in range(SEEDS):
        facts, hospitals = answered(np.random.default_rng(seed), task, sizes, [level] * len(sizes), rows_of_case)
        lines = gaps_of(facts, hospitals, seed)
        seen += (
            excludes_zero(lines[0]),
            lines[0].p < LEVEL,
            any(map(excludes_zero, lines[1:])),
            chosen_pair(facts, hospitals, seed),
        )
    return seen / SEEDS


def chosen_pair(task: TaskFacts, hospitals: list[str], seed: int) -> bool:
    """Whether the percentile interval of the largest less the smallest excludes zero, as if both were named before."""
    values, one = values_of(hospitals), measured("base", task.systems["base"])
    scoring = SCORING.model_copy(update={"seed": seed})
    of_value = estimates_of(task, [one], cut_by(task, values, 10)["ds"], "ds", "hospital", scoring)["base"].estimates
    first, second = np.argmax(of_value.point), np.argmin(of_value.point)
    return bool(np.quantile(of_value.draws[:, first] - of_value.draws[:, second], LEVEL / 2) > 0)


@pytest.mark.parametrize(
    ("task", "sizes", "level", "rows_of_case"),
    [
        ("classification", [20, 40, 20, 60], 0.7, 2),
        ("classification", [20] * 6, 0.8, 1),
        ("counting", [20, 20, 40, 40], 5.0, 1),
    ],
)
def test_equal_hospitals_are_rarely_called_different(task, sizes, level, rows_of_case):
    interval, p, rest, chosen = alarms(task, sizes, level, rows_of_case)
    assert max(interval, p, rest) <= MOST
    assert interval >= 0.01, "an interval that never errs is too wide"
    assert chosen > 2 * MOST, "what is largest by chance is not to be taken for a pair that was named before"


def test_a_planted_gap_is_seen_and_shuffled_labels_have_none():
    """One of four hospitals is read worse; then the same answers with hospitals dealt anew to the cases."""
    planted, shuffled = [], []
    for seed in range(40):
        rng = np.random.default_rng([seed, 1])
        facts, hospitals = answered(rng, "classification", [50, 50, 50, 50], [0.9, 0.9, 0.9, 0.5])
        lines = gaps_of(facts, hospitals, seed)
        worst = next(line for line in lines if line.kind == "rest" and line.first == "D")
        planted.append((excludes_zero(lines[0]), lines[0].second == "D", worst.high is not None and worst.high < 0))
        lines = gaps_of(facts, list(rng.permutation(hospitals)), seed)
        shuffled.append(any(map(excludes_zero, lines)))
    assert np.mean(planted, axis=0).min() >= 0.95
    assert np.mean(shuffled) <= 2 * LEVEL + 2.6 * (2 * LEVEL * 0.9 / 40) ** 0.5  # two sets of intervals


def test_the_interval_of_the_range_holds_the_true_one():
    """Mean errors of 4, 5, 6 and 8: the true range is 4, in cases whose error is their hospital's in the mean."""
    hits = 0
    for seed in range(SEEDS):
        rng = np.random.default_rng([seed, 2])
        facts, hospitals = answered(rng, "counting", [40] * 4, [4.0, 5.0, 6.0, 8.0])
        line = gaps_of(facts, hospitals, seed)[0]
        hits += line.low <= 4.0 <= line.high
    assert hits / SEEDS >= 0.95 - 2.6 * (0.95 * 0.05 / SEEDS) ** 0.5


def test_two_values_have_one_interval_and_it_is_that_of_their_difference():
    facts, hospitals = answered(np.random.default_rng(4), "counting", [120, 120], [4.0, 9.0])
    (line,) = gaps_of(facts, hospitals, 0)
    assert (line.kind, line.first, line.second, line.values) == ("range", "B", "A", 2)
    assert line.low < line.gap < line.high and line.low == pytest.approx(2 * line.gap - line.high)


def test_the_range_follows_from_the_pairs():
    rng = np.random.default_rng(0)
    estimates = Estimates(
        np.array([0.2, 0.9, 0.5]), rng.normal([0.2, 0.9, 0.5], 0.05, (500, 3)), rng.normal(0, 0.05, (900, 3))
    )
    pairs = simultaneous(estimates.pairs(), 0.95)
    extent = range_of(estimates, 0.95)
    assert (extent.first, extent.second, extent.gap) == (1, 0, pytest.approx(0.7))
    assert extent.low == pytest.approx(max(pairs.low[0], pairs.low[1], -pairs.high[2]))
    assert extent.p == pairs.p.min() == pytest.approx(1 / 901)


def test_what_never_varies_has_no_gap_and_p_one():
    same = Estimates(np.ones(3), np.ones((100, 3)), np.ones((200, 3)))
    extent = range_of(same, 0.95)
    assert (extent.gap, extent.low, extent.high, extent.p) == (0.0, 0.0, 0.0, 1.0)


def test_an_undefined_metric_has_no_interval():
    draws = np.ones((100, 2))
    draws[:10] = np.nan
    assert simultaneous(Estimates(np.ones(2), draws, np.ones((100, 2))), 0.95) is None
    assert range_of(Estimates(np.ones(2), draws, np.ones((100, 2))), 0.95).low is None


def test_labels_move_within_their_stratum_alone():
    labels, strata = np.array([0, 0, 1, 2, 0, 1, 2]), np.array([0, 0, 0, 0, 5, 5, -1])
    blocks = np.concatenate(list(permutations(labels, strata, 300, 1)))
    assert blocks.shape == (300, 7) and (blocks[:, 6] == 2).all()
    assert (np.sort(blocks[:, :4]) == [0, 0, 1, 2]).all() and (np.sort(blocks[:, 4:6]) == [0, 1]).all()
    assert len(np.unique(blocks[:, :4], axis=0)) == 12 and set(blocks[:, 4]) == {0, 1}


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


def test_equal_values_are_two_values():
    for size in (2, 3):
        extent = range_of(Estimates(np.ones(size), np.ones((100, size)), np.ones((200, size))), 0.95)
        assert {extent.first, extent.second} == {0, 1} and extent.gap == 0


def test_blocks_of_permutations_are_bounded_by_what_is_computed_of_them(monkeypatch):
    blocks = list(permutations(np.arange(10), np.zeros(10, dtype=int), 25, 1, numbers=gaps.BLOCK // 4))
    assert [len(block) for block in blocks] == [4] * 6 + [1]
    facts, hospitals = answered(np.random.default_rng(0), "counting", [12] * 4, [5.0] * 4)
    values, one = values_of(hospitals), measured("base", facts.systems["base"])
    columns = one.facts.packed().shape[1]
    sizes = []
    monkeypatch.setattr(gaps, "BLOCK", 48 * 10)
    value = type(one).value
    monkeypatch.setattr(type(one), "value", lambda self, sums: sizes.append(sums.shape) or value(self, sums))
    estimates_of(facts, [one], cut_by(facts, values, 10)["ds"], "ds", "hospital", SCORING)
    permuted = [shape for shape in sizes if len(shape) == 3 and len(shape) and shape[0] != SCORING.resamples]
    assert permuted and max(np.prod(shape) for shape in permuted) <= max(48 * 10, 4 * columns)
    assert sum(shape[0] for shape in permuted) == 2 * 10 * SCORING.resamples


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


def test_rare_values_share_a_line_that_is_not_ranked():
    texts = [f"site {place:03}" for place in range(60)] + ["site 003"] * 5 + [""]
    values = values_of(texts, most=50)
    assert len(values.names) == 52 and values.joined == 10 and values.names[50:] == ("10 others", "")
    assert "site 003" in values.names and sum(values.labels == 50) == 10 and sum(values.labels == 51) == 1


def test_a_case_in_several_hospitals_counts_in_each():
    facts, hospitals = answered(np.random.default_rng(0), "classification", [40], [0.7], rows_of_case=2)
    hospitals = ["AB"[place % 2] for place in range(80)]
    (line,) = gaps_of(facts, hospitals, 0)
    assert line.clusters == 40 and line.rows == 80
    swapped = gaps_of(replace(facts), ["BA"[place % 2] for place in range(80)], 0)[0]
    assert swapped.gap == line.gap and {swapped.first, swapped.second} == {"A", "B"}


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
