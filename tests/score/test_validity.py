"""How far a judge of rubrics agrees with human scores decides by itself whether its column is relied on."""

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from tests.score.conftest import row
from tests.score.graded import GRADED, Judged, human_line, recorded, reply
from tests.score.rubric_cases import cases
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.judges import RecordedJudge, RuleBasedJudge, Validity
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Outcome, Prediction, ReportScore, Row
from workflow_scripts.core.rubrics.rows import CalibrationPoint, ValidityScore
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.judges.rubrics.rubric import resolved
from workflow_scripts.score.judged.agreement import DISTANCES, kappa, pairs_of_raters
from workflow_scripts.score.judged.human import read_human_scores


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Four judges of the same answers: one who agrees, one who never does, one unknown, and one whose words fail."""
    done = Judged(tmp_path_factory.mktemp("validity"), GRADED)
    sections = {
        "sure": [(case, reply(case, case.score)) for case in GRADED],
        "blind": [(case, reply(case, (0, 2, 3, 4, 5)[place * 7 % 5])) for place, case in enumerate(GRADED)],
        "unknown": [(case, reply(case, case.score)) for case in GRADED],
        "mute": [(case, reply(case, "cannot assess") if place % 2 else "no idea") for place, case in enumerate(GRADED)],
    }
    done.sections = {
        name: recorded(done.folder, name, replies, None if name == "unknown" else GRADED)
        for name, replies in sections.items()
    }
    done.pairs = {name: done.judged(name, section) for name, section in done.sections.items()}
    done.measures = {name: done.measured(name, section) for name, section in done.sections.items() if name != "unknown"}
    done.values = done.metrics(*sections)
    return done


def test_a_judge_above_the_threshold_is_relied_on_and_heads_the_table(run):
    decisive = next(line for line in run.measures["sure"] if line.decisive)
    assert (decisive.measure, decisive.value, decisive.valid) == ("weighted_kappa", 1.0, True)
    heads = {(value.metric, value.judge) for value in run.values if value.primary}
    assert heads == {("bond", "sure")}
    assert {value.note for value in run.values if value.judge == "sure"} == {None}


@pytest.mark.parametrize(
    ("name", "note"), [("blind", "below_validity"), ("mute", "below_validity"), ("unknown", "no_validity")]
)
def test_a_judge_below_it_or_without_human_scores_is_noted_and_never_primary(run, name, note):
    values = [value for value in run.values if value.judge == name]
    assert values and not any(value.primary for value in values)
    assert all(note in str(value.note).split("; ") for value in values)


def test_without_a_judge_to_rely_on_a_text_metric_heads_the_table(run):
    values = run.metrics("blind", "unknown")
    assert {(value.metric, value.judge) for value in values if value.primary} == {("rouge_l", None)}
    run.metrics(*run.sections)


def test_abstained_and_invalid_replies_are_counted_and_the_bounds_say_what_they_might_have_been(run):
    by_name = {v.metric: v for v in run.values if v.judge == "mute" and v.subset == "macro"}
    assert (by_name["bond"].abstained, by_name["bond"].invalid, by_name["bond"].value) == (20, 20, None)
    assert (by_name["bond_lowest"].value, by_name["bond_highest"].value) == (0.0, 5.0)
    line = run.measures["mute"][0]
    assert (line.answers, line.scored, line.abstained, line.invalid, line.valid) == (40, 0, 20, 20, False)


def test_the_mean_stands_on_the_rubrics_own_scale(run):
    value = next(v for v in run.values if (v.judge, v.metric, v.subset) == ("sure", "bond", "pooled"))
    assert value.value == pytest.approx(np.mean([case.score for case in GRADED]))
    assert value.rows == 40 and value.definition == "Bond 2012"


def test_bias_is_the_mean_difference_to_the_raters(run):
    bias = next(line for line in run.measures["blind"] if line.measure == "bias")
    scores = read_rows(run.folder / "blind-scores.parquet", ValidityScore)
    assert bias.value == pytest.approx(np.mean([row.score - np.mean(row.human) for row in scores]))
    assert bias.low is not None and bias.low <= bias.value <= bias.high


def test_calibration_is_the_mean_human_score_of_each_score_of_the_judge(run):
    points = read_rows(run.folder / "blind-calibration.parquet", CalibrationPoint)
    scores = read_rows(run.folder / "blind-scores.parquet", ValidityScore)
    assert [point.score for point in points] == sorted({row.score for row in scores})
    for point in points:
        own = [row.human[0] for row in scores if row.score == point.score]
        assert (point.human, point.answers) == (pytest.approx(np.mean(own)), len(own))


def test_the_same_numbers_come_again(run):
    again = Judged.measured(run, "blind", run.sections["blind"])
    assert again == run.measures["blind"]


WEIGHTS = {"kappa": None, "linear_kappa": "linear", "weighted_kappa": "quadratic"}


@pytest.mark.parametrize("measure", WEIGHTS)
@pytest.mark.parametrize("seed", range(20))
def test_kappa_is_that_of_scikit_learn(measure, seed):
    """Bond leaves out 1: scikit-learn weighs by places of labels, so that it is given the whole grid."""
    drawn = np.random.default_rng(seed)
    one = drawn.choice([0, 2, 3, 4, 5], size=drawn.integers(5, 60))
    other = np.where(drawn.random(len(one)) < 0.6, one, drawn.choice([0, 2, 3, 4, 5], size=len(one)))
    expected = cohen_kappa_score(one, other, labels=list(range(6)), weights=WEIGHTS[measure])
    assert kappa(one.astype(float), other.astype(float), measure) == pytest.approx(expected)


@pytest.mark.parametrize("measure", WEIGHTS)
def test_agreement_of_one_score_throughout_is_undefined(measure):
    assert np.isnan(kappa(np.full(9, 3.0), np.full(9, 3.0), measure))
    assert kappa(np.full(9, 3.0), np.array([3.0, 4.0, 5.0] * 3), measure) == pytest.approx(0.0)


def test_raters_are_compared_either_way_round():
    one, other = pairs_of_raters([(1.0, 2.0), (0.0, 0.0, 4.0)])
    assert sorted(zip(one, other, strict=True)) == sorted(
        [(1, 2), (2, 1), (0, 0), (0, 0), (0, 4), (4, 0), (0, 4), (4, 0)]
    )


def test_several_raters_each_make_a_pair_with_the_judge_and_agree_among_themselves(tmp_path):
    done = Judged(tmp_path, GRADED)
    section = recorded(tmp_path, "two", [(case, reply(case, case.score)) for case in GRADED])
    lines = [human_line(case, case.score, 5 if place % 4 == 0 else case.score) for place, case in enumerate(GRADED)]
    section.validity.file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    measures = {line.measure: line for line in done.measured("two", section)}
    judge_and_rater = [
        (case.score, score) for case, line in zip(GRADED, lines, strict=True) for score in line["scores"]
    ]
    one, other = zip(*judge_and_rater, strict=True)
    expected = cohen_kappa_score(one, other, labels=list(range(6)), weights="quadratic")
    assert measures["weighted_kappa"].value == pytest.approx(expected)
    assert measures["raters"].raters == 2 and 0 < measures["raters"].value < 1
    assert set(measures) == {*DISTANCES, "bias", "raters"}


def test_a_judge_of_reports_reads_no_response_and_a_judge_of_rubrics_no_report(tmp_path):
    done = Judged(tmp_path, GRADED[:2])
    report = row(7, "report", "No acute disease.")
    ungraded = replace(row(8, "free_response", "Rest."), question="What now?")
    write_rows(done.split, [*done.rows, report, ungraded], Row)
    answers = [*read_rows(done.predictions, Prediction), Prediction(report.uid, "base", "Normal.", "stop")]
    write_rows(done.predictions, [*answers, Prediction(ungraded.uid, "base", "Rest.", "stop")], Prediction)
    graded = done.judged("rubric", recorded(tmp_path, "rubric", [(c, reply(c, c.score)) for c in GRADED[:2]]))
    assert {pair.hypothesis for pair in graded} == {case.answer for case in GRADED[:2]}
    assert {json.loads(pair.context)["question"] for pair in graded} == {GRADED[0].question}
    of_reports = done.judged("rules", RuleBasedJudge())
    assert {pair.hypothesis for pair in of_reports} == {"Normal."}
    metrics = {(v.task, v.metric) for v in done.metrics("rubric", "rules")}
    assert {("report", "crimson"), ("free_response", "bond")} <= metrics
    assert not {("report", "bond"), ("free_response", "crimson"), ("free_response", "green")} & metrics


def test_parts_of_a_rubric_have_scores_of_their_own(tmp_path):
    listed = [case for case in cases() if case.rubric == '"r_idea"']
    done = Judged(tmp_path, listed)
    text = json.dumps({"items": {"1": 3, "2": 2, "3": 1, "4": 0}})
    done.judged("parts", recorded(tmp_path, "parts", [(case, text) for case in listed], None))
    values = {v.stratum: v.value for v in done.metrics("parts") if (v.metric, v.subset) == ("r_idea", "macro")}
    assert values == {None: 6, "interpretive_summary": 3, "differential": 2, "explanation": 1, "alternatives": 0}


def test_rubrics_of_several_subsets_each_have_the_mean_of_their_own(tmp_path):
    listed = [case for case in cases() if case.rubric in ('"bond"', '"likert"')]
    done = Judged(tmp_path, listed)
    rows = [replace(r, subset="tests" if "likert" in r.rubric else "lists") for r in done.rows]
    write_rows(done.split, rows, Row)
    section = recorded(tmp_path, "both", [(case, reply(case, case.score)) for case in listed], listed)
    done.judged("both", section)
    assert {line.rubric: line.valid for line in done.measured("both", section)} == {"bond": True, "likert": True}
    values = [v for v in done.metrics("both") if v.metric in ("bond", "likert")]
    assert {(v.metric, v.subset) for v in values} == {
        (metric, subset)
        for metric, own in (("bond", "lists"), ("likert", "tests"))
        for subset in (own, "macro", "pooled")
    }
    assert all(v.value is not None for v in values)
    assert {v.metric for v in values if v.primary} == {"bond"}


FAULTS = {
    "not JSON": ("{", "line 1"),
    "no rubric": (json.dumps({"question": "?", "reference": "a", "hypothesis": "b", "score": 1}), "expected question"),
    "unknown rubric": (json.dumps(human_line(GRADED[0]) | {"rubric": "apgar"}), "'apgar' is no rubric"),
    "off the scale": (json.dumps(human_line(GRADED[0], 1)), "the score 1 is not on the scale of bond: 5, 4, 3, 2, 0"),
    "no number": (json.dumps(human_line(GRADED[0]) | {"scores": ["5"]}), "is no number"),
    "no score": (json.dumps(human_line(GRADED[0]) | {"scores": []}), "expected `scores`"),
    "twice": (f"{json.dumps(human_line(GRADED[0]))}\n" * 2, "line 2: this answer stands there before"),
    "nothing": ("", "holds no record"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_human_scores_that_cannot_be_used_are_named(tmp_path, name):
    text, said = FAULTS[name]
    (tmp_path / "human.jsonl").write_text(text)
    with pytest.raises(BadFile, match=said):
        read_human_scores(tmp_path / "human.jsonl")


def test_missing_human_scores_are_named(tmp_path):
    with pytest.raises(BadFile, match="is missing; it should hold recorded human scores"):
        read_human_scores(tmp_path / "none.jsonl")


def test_a_judge_that_gives_no_reply_is_not_taken_for_one_that_disagrees(tmp_path):
    section = recorded(tmp_path, "few", [(case, reply(case, case.score)) for case in GRADED[:30]])
    with pytest.raises(
        Refused, match=r"judge few: 10 of 40 answers with human scores got no reply \(the judge gave no"
    ):
        Judged(tmp_path, GRADED).measured("few", section)


def test_validity_belongs_to_rubrics(tmp_path):
    with pytest.raises(ValueError, match="set `metric: rubric`"):
        RecordedJudge(metric="crimson", path="x.jsonl", validity=Validity(path="y.jsonl"))
    with pytest.raises(Refused, match=r"judges\.rules has no `validity`"):
        Judged(tmp_path, GRADED[:1]).measured("rules", RuleBasedJudge())


def test_human_scores_change_no_judgement():
    judge_of = RecordedJudge(metric="rubric", path="x.jsonl")
    validated = judge_of.model_copy(update={"validity": Validity(path="y.jsonl")})
    assert judge_of.judging_spec() == validated.judging_spec() and judge_of.spec() != validated.spec()


def test_report_scores_carry_the_note(run):
    scores = read_rows(run.folder / "scores.parquet", ReportScore)
    assert {(s.judge, s.note) for s in scores if s.judge} == {
        ("sure", None),
        ("blind", "below_validity"),
        ("mute", "below_validity"),
        ("unknown", "no_validity"),
    }
    assert {o.outcome for o in read_rows(run.folder / "outcomes.parquet", Outcome)} == {"valid"}
    assert {resolved(r.rubric).name for r in run.rows} == {"bond"}
