"""What a model thought is neither read, nor judged, nor compared; the raw text stays, the cut is a fact of the row."""

from dataclasses import replace

import pytest

from tests.score.conftest import one_of_each, prediction, row
from workflow_scripts.core.config.judges import JudgeSection, RuleBasedJudge
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.rows import JudgedPair, MetricValue, Outcome, ReportScore
from workflow_scripts.core.tables import read_rows
from workflow_scripts.judges.judgements import pairs_of
from workflow_scripts.score.judge import judge
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import outcomes_of, write_outcomes
from workflow_scripts.score.reports import write_reports

MISLEADING = 'Option A, 99 cells, 7%, [[5, 5, 9, 9]], {"x": [[5, 5, 9, 9]]}, Caries, a large pneumothorax.'
WRAPPED = {
    "Gemma": "<unused94>thought\n" + MISLEADING + "\n<unused95>ANSWER",
    "think": "<think>" + MISLEADING + "</think>\nANSWER",
    "closed alone": MISLEADING + "</think>ANSWER",
    "after the turn": "ANSWER<end_of_turn>\n<start_of_turn>user\n" + MISLEADING,
}


@pytest.mark.parametrize("form", WRAPPED)
def test_an_answer_is_read_as_if_it_stood_alone(form):
    rows = one_of_each()
    plain = outcomes_of(rows, {r.uid: prediction(r.uid, r.answer) for r in rows}, "base")
    given = {r.uid: prediction(r.uid, WRAPPED[form].replace("ANSWER", r.answer)) for r in rows}
    wrapped = outcomes_of(rows, given, "base")
    assert [o.outcome for o in wrapped] == ["valid"] * len(rows)
    assert [(o.strict, o.lenient, o.answer) for o in wrapped] == [(o.strict, o.lenient, o.answer) for o in plain]
    assert [o.text for o in wrapped] == [given[r.uid].text for r in rows]
    assert {o.thought for o in wrapped} == {form != "after the turn"} and {o.thought for o in plain} == {False}


def test_an_unfinished_thought_is_a_truncated_answer():
    rows = one_of_each()
    given = {r.uid: prediction(r.uid, f"<unused94>thought\nOption B. {r.answer}") for r in rows}
    for outcome in outcomes_of(rows, given, "base"):
        assert (outcome.outcome, outcome.thought, outcome.answer) == ("truncated", True, "")
    missing = outcomes_of(rows, {}, "base")
    assert {(o.text, o.answer, o.thought) for o in missing} == {(None, None, False)}


def test_judges_and_text_metrics_see_the_final_answer(tables, tmp_path):
    """An identical report behind a thought scores as an identical report."""
    report = "The heart is normal in size. No pleural effusion."
    rows = [row(n, "report", report) for n in range(len(WRAPPED))]
    texts = [form.replace("ANSWER", report) for form in WRAPPED.values()]
    split, answers = tables(rows, [prediction(r.uid, text) for r, text in zip(rows, texts, strict=True)])
    pairs = pairs_of(rows, {r.uid: text for r, text in zip(rows, texts, strict=True)})
    assert {(pair.reference, pair.hypothesis) for pair in pairs.values()} == {(report, report)}
    judgements, scores = tmp_path / "judgements", tmp_path / "scores"
    spec = JudgeSection(RuleBasedJudge())
    judge(split=split, predictions=[answers], name="rules", spec=spec, store=tmp_path / "store", out=judgements)
    assert len(read_rows(judgements, JudgedPair)) == 1
    write_reports(split=split, predictions=answers, judgements=[judgements], out=scores, findings=tmp_path / "findings")
    values = {(s.metric, s.judge): s.value for s in read_rows(scores, ReportScore) if s.stratum is None}
    assert {values[key] for key in (("crimson", "rules"), ("rouge_l", None))} == {1.0}
    outcomes, metrics = tmp_path / "outcomes", tmp_path / "metrics"
    write_outcomes(split=split, predictions=answers, system="base", out=outcomes)
    write_metrics(outcomes=[outcomes], report_scores=[scores], scoring=Scoring(resamples=100), out=metrics)
    shares = {v.metric: v.value for v in read_rows(metrics, MetricValue) if v.subset == "macro"}
    assert shares["distinct_share"] == 0.25  # the four answers are one text


def test_exact_match_compares_the_final_answer(tables, tmp_path):
    first = one_of_each()[0]
    rows = [replace(first, uid=f"u{n}", case_id=f"c{n}") for n in range(2)]
    split, answers = tables(rows, [prediction("u0", "<think>A or B?</think> B"), prediction("u1", "B<end_of_turn>A")])
    outcomes, metrics = tmp_path / "outcomes", tmp_path / "metrics"
    write_outcomes(split=split, predictions=answers, system="base", out=outcomes)
    assert [o.thought for o in read_rows(outcomes, Outcome)] == [True, False]
    write_metrics(outcomes=[outcomes], scoring=Scoring(resamples=100), out=metrics)
    values = {
        v.metric: v.value for v in read_rows(metrics, MetricValue) if v.subset == "macro" and v.reading != "lenient"
    }
    assert values["balanced_accuracy"] == values["balanced_accuracy_official"] == 1.0
