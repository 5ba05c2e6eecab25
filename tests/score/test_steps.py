"""The steps from the command line: they agree with each other, and known failures are one sentence."""

import json
import re
import subprocess
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from tests.score.conftest import one_of_each, prediction, row
from tests.workflow import step_server
from workflow_scripts import PACKAGE, ROOT
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.judges import JudgeSection, RuleBasedJudge
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import (
    Agreement,
    Comparison,
    JudgedFinding,
    MetricValue,
    Outcome,
    Prediction,
    Row,
    RowFact,
)
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import tasks
from workflow_scripts.score.comparisons import agreements, corrected, pairs_to_compare, warnings, write_comparisons
from workflow_scripts.score.judge import judge
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.reports import write_reports
from workflow_scripts.tasks.report.metrics import ScoreKey, headline_of

RULES = "lab_rules-normal"
"""The judge of these tests: no name is taken apart, whatever it holds."""


def run(step: str, *arguments) -> subprocess.CompletedProcess:
    command = [step_server.python(), "-m", f"workflow_scripts.score.{step}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def scoring(resamples=100) -> Scoring:
    return Scoring(resamples=resamples)


def outcomes_file(folder, split, answers, system):
    """The outcomes of a system, in a file that is named after it."""
    out = folder / f"{system}.outcomes"
    write_outcomes(split=split, predictions=answers, system=system, out=out)
    return out


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Outcomes and report scores of two systems over a few rows of each task: the arguments of the later steps."""
    folder = tmp_path_factory.mktemp("scored")
    rows = [
        replace(
            entry,
            uid=f"{copy}-{entry.uid}",
            case_id=f"{copy}-{entry.case_id}",
            **({"number": copy / 2, "answer": str(copy / 2)} if entry.task == "similarity" else {}),
        )
        for copy in range(6)
        for entry in one_of_each()
    ]
    split = folder / "split.parquet"
    write_rows(split, rows, Row)
    outcomes, report_scores = [], []
    for system, right in (("base", 2), ("tuned", 5)):
        wrong = {"report": "Cardiomegaly."}
        texts = [
            entry.answer if int(entry.uid[0]) < right else wrong.get(entry.task, "I cannot tell.") for entry in rows
        ]
        answers, judged, scores = (folder / f"{system}.{kind}" for kind in ("answers", "judged", "scores"))
        write_rows(answers, [prediction(r.uid, text, system) for r, text in zip(rows, texts, strict=True)], Prediction)
        outcomes.append(outcomes_file(folder, split, answers, system))
        section = JudgeSection(RuleBasedJudge())
        judge(split=split, predictions=[answers], name=RULES, spec=section, store=folder / "store", out=judged)
        findings = folder / f"{system}.findings"
        write_reports(split=split, predictions=answers, judgements=[judged], out=scores, findings=findings)
        report_scores.append(scores)
    return {"outcomes": outcomes, "report_scores": report_scores, "rule_based_judges": [RULES]}


SYSTEMS = ("base", "tuned")


def test_every_task_gets_its_primary_metric_for_every_system(scored, tmp_path):
    out = tmp_path / "metrics.parquet"
    write_metrics(**scored, scoring=scoring(), out=out)
    values = read_rows(out, MetricValue)
    for task in tasks():
        for system in SYSTEMS:
            primary = [v for v in values if v.task == task and v.system == system and v.primary]
            assert {v.subset for v in primary} == {f"{task}-set", "macro", "pooled"}
            assert len({(v.metric, v.judge) for v in primary}) == 1
            for v in primary:
                if task != "similarity":  # a correlation of six rows has resamples without one
                    assert v.low <= v.value <= v.high
                assert v.rows == 6
    keys = Counter((v.system, v.task, v.subset, v.metric, v.reading, v.judge, v.stratum) for v in values)
    assert set(keys.values()) == {1}


def test_a_judged_metric_is_named_by_columns_and_no_name_is_glued(scored, tmp_path):
    out = tmp_path / "metrics.parquet"
    write_metrics(**scored, scoring=scoring(), out=out)
    values = [v for v in read_rows(out, MetricValue) if v.judge is not None]
    assert {v.judge for v in values} == {RULES}
    assert {v.stratum for v in values} == {None, "abnormal"}
    assert {(v.metric, v.judge) for v in values if v.primary} == {("crimson", RULES)}
    assert not any(RULES in v.metric or "abnormal" in v.metric for v in values)


def test_every_metric_of_the_table_is_a_literal_in_the_code(scored, tmp_path):
    out = tmp_path / "metrics.parquet"
    write_metrics(**scored, scoring=scoring(), out=out)
    names = {value.metric for value in read_rows(out, MetricValue)}
    code = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / PACKAGE).rglob("*.py"))
    literals = set(re.findall(r'"(\w+)"', code))
    assert len(names) > 50
    assert names - literals == set()


def test_the_systems_are_compared_pairwise_and_corrected(scored, tmp_path):
    out, agreement = tmp_path / "c.parquet", tmp_path / "a.parquet"
    write_comparisons(**scored, scoring=scoring(200), out=out, agreement=agreement)
    rows = [r for r in read_rows(out, Comparison) if r.subset == "macro"]
    assert [r.task for r in rows] == list(tasks())
    for r in rows:
        assert r.p <= r.p_holm <= 1
        better = r.difference > 0 if r.direction == "higher" else r.difference < 0
        assert better
    agreed = read_rows(agreement, Agreement)
    assert {("crimson", RULES), ("green", RULES), ("rouge_l", None)} <= {(r.metric_1, r.judge_1) for r in agreed} | {
        (r.metric_2, r.judge_2) for r in agreed
    }
    names = {r.metric_1 for r in agreed} | {r.metric_2 for r in agreed}
    assert not any(name.startswith("efficacy") for name in names)


def test_baselines_are_compared_with_systems_and_never_among_themselves():
    pairs = pairs_to_compare(["base", "tuned", "majority", "empty"], ["majority", "empty"])
    assert pairs == [
        ("base", "tuned"), ("majority", "base"), ("empty", "base"), ("majority", "tuned"), ("empty", "tuned")
    ]  # fmt: skip
    assert pairs_to_compare(["majority", "empty"], ["majority", "empty"]) == []


def test_holms_family_holds_the_pairs_with_a_system_alone(tables, tmp_path):
    rows = [row(n, "counting", str(n), number=float(n)) for n in range(20)]
    paths = []
    for place, system in enumerate(("base", "majority", "empty", "constant")):
        split, answers = tables(rows, [prediction(r.uid, str(n + place), system) for n, r in enumerate(rows)], system)
        paths.append(outcomes_file(tmp_path, split, answers, system))
    write_comparisons(
        outcomes=paths,
        baselines=["majority", "empty", "constant"],
        scoring=scoring(),
        out=tmp_path / "c",
        agreement=tmp_path / "a",
    )
    macro = [r for r in read_rows(tmp_path / "c", Comparison) if r.subset == "macro"]
    assert [(r.system_a, r.system_b) for r in macro] == [(b, "base") for b in ("majority", "empty", "constant")]
    assert [r.difference for r in macro] == [-1.0, -2.0, -3.0]
    assert [r.p_holm / r.p for r in macro] == pytest.approx([3.0] * 3)


def test_a_system_equal_to_another_differs_by_nothing(tables, tmp_path):
    rows = [row(n, "counting", str(n), number=float(n)) for n in range(20)]
    paths = []
    for system in ("one", "two"):
        split, answers = tables(rows, [prediction(r.uid, "7", system) for r in rows], system)
        paths.append(outcomes_file(tmp_path, split, answers, system))
    write_comparisons(outcomes=paths, scoring=scoring(), out=tmp_path / "c", agreement=tmp_path / "a")
    for r in read_rows(tmp_path / "c", Comparison):
        assert (r.difference, r.p) == (0.0, 1.0)


def test_metrics_do_not_depend_on_which_systems_stand_beside(tables, tmp_path):
    rows = [row(n, "counting", str(n), number=float(n)) for n in range(20)]
    paths = []
    for system in ("one", "two"):
        split, answers = tables(
            rows, [prediction(r.uid, str(len(system) + n), system) for n, r in enumerate(rows)], system
        )
        paths.append(outcomes_file(tmp_path, split, answers, system))
    write_metrics(outcomes=paths, scoring=scoring(200), out=tmp_path / "both")
    write_metrics(outcomes=paths[:1], scoring=scoring(200), out=tmp_path / "alone")
    both = [r for r in read_rows(tmp_path / "both", MetricValue) if r.system == "one"]
    assert both == read_rows(tmp_path / "alone", MetricValue)


def test_macro_is_the_mean_over_subsets_and_pooled_is_over_rows(tables, tmp_path):
    rows = [row(n, "classification", "A", subset="large" if n < 9 else "small") for n in range(10)]
    split, answers = tables(rows, [prediction(r.uid, "A" if r.subset == "large" else "B") for r in rows])
    write_metrics(
        outcomes=[outcomes_file(tmp_path, split, answers, "base")], scoring=scoring(), out=tmp_path / "metrics"
    )
    accuracy = {
        v.subset: v.value
        for v in read_rows(tmp_path / "metrics", MetricValue)
        if (v.metric, v.reading) == ("accuracy", "strict")
    }
    assert accuracy == {"large": 1.0, "small": 0.0, "macro": 0.5, "pooled": 0.9}


def test_what_each_row_adds_is_written_beside_the_sums(scored, tmp_path):
    write_metrics(**scored, scoring=scoring(), out=tmp_path / "m", facts=tmp_path / "f")
    facts = [r for r in read_rows(tmp_path / "f", RowFact) if r.system == "tuned"]
    bounded = [r.value for r in facts if r.task == "counting" and r.fact == "bounded strict"]
    (value,) = [
        v.value
        for v in read_rows(tmp_path / "m", MetricValue)
        if (v.system, v.task, v.metric, v.reading, v.subset) == ("tuned", "counting", "mae", "strict", "pooled")
    ]
    assert value == sum(bounded) / len(bounded)


def test_a_missing_prediction_is_a_row_with_an_outcome(tables, tmp_path):
    rows = one_of_each()
    split, answers = tables(rows, [prediction(rows[0].uid, "B")])
    out = outcomes_file(tmp_path, split, answers, "base")
    assert [r.outcome for r in read_rows(out, Outcome)] == ["valid"] + ["missing"] * (len(rows) - 1)
    write_metrics(outcomes=[out], scoring=scoring(), out=tmp_path / "m")
    values = read_rows(tmp_path / "m", MetricValue)
    assert {v.value for v in values if v.metric == "f1_50"} == {0.0}
    assert all(np.isfinite(v.value) for v in values if v.metric == "mae")


def test_systems_that_answered_other_rows_are_compared_in_every_task(tables, tmp_path):
    rows = [replace(r, uid=f"{r.uid}-{n}", case_id=f"{r.uid}-{n}") for n in range(2) for r in one_of_each()] + [
        row(100 + n, "classification", letter) for n, letter in enumerate("ABCD")
    ]
    paths = []
    for place, system in enumerate(("one", "two")):
        own = [r for n, r in enumerate(rows) if n % 3 != place]
        split, answers = tables(rows, [prediction(r.uid, r.answer, system) for r in own], system)
        paths.append(outcomes_file(tmp_path, split, answers, system))
    write_metrics(outcomes=paths, scoring=scoring(), out=tmp_path / "m")
    write_comparisons(outcomes=paths, scoring=scoring(), out=tmp_path / "c", agreement=tmp_path / "a")
    compared = {r.task for r in read_rows(tmp_path / "c", Comparison)}
    assert compared == {r.task for r in rows} - {"report", "free_response"}  # no text was scored


def one_sentence(ended: subprocess.CompletedProcess, *words: str) -> None:
    assert ended.returncode == 1
    assert len(ended.stderr.strip().splitlines()) == 1
    assert all(word in ended.stderr for word in words)


def test_known_failures_are_one_sentence(tables, tmp_path):
    rows = one_of_each()
    split, answers = tables(rows, [prediction("elsewhere", "B")])
    out = tmp_path / "o"
    one_sentence(
        run("outcomes", "--split", split, "--predictions", answers, "--system", "s", "--out", out), "elsewhere"
    )
    one_sentence(run("metrics", "--outcomes", split, "--scoring", "{}", "--out", out), "columns")
    assert not out.exists()
    with pytest.raises(BadFile, match="missing"):
        write_outcomes(split=tmp_path / "none", predictions=answers, system="s", out=out)
    unanswered, answers = tables([replace(rows[0], answer="")], [])
    with pytest.raises(Refused, match="no answer to score by"):
        write_outcomes(split=unanswered, predictions=answers, system="s", out=out)


def test_a_wrong_section_of_the_configuration_is_refused_with_its_key(tables, tmp_path):
    split, answers = tables(one_of_each(), [])
    out = tmp_path / "o"
    metrics = run("metrics", "--outcomes", split, "--scoring", '{"resamples": 1}', "--out", out)
    named = ["--split", split, "--predictions", answers, "--name", "j", "--store", tmp_path, "--out", out]
    judged = run("judge", *named, "--spec", '{"backend": "oracle"}')
    for ended, words in ((metrics, ("Scoring", "resamples")), (judged, ("JudgeSection", "backend"))):
        assert ended.returncode == 2
        assert "Traceback" not in ended.stderr and all(word in ended.stderr for word in words)
    assert not out.exists()


def test_each_step_runs_from_the_command_line(tables, tmp_path):
    rows = one_of_each()
    split, answers = tables(rows, [prediction(r.uid, r.answer) for r in rows])
    files = {
        name: tmp_path / name for name in ("outcomes", "judged", "scores", "findings", "metrics", "pairs", "agree")
    }
    store = tmp_path / "store"
    for ended in (
        run("outcomes", "--split", split, "--predictions", answers, "--system", "base", "--out", files["outcomes"]),
        run("judge", "--split", split, "--predictions", answers, "--name", "rules", "--spec",
            '{"backend":"rule_based"}', "--store", store, "--out", files["judged"]),
        run("reports", "--split", split, "--predictions", answers, "--judgements", files["judged"], "--out",
            files["scores"], "--findings", files["findings"]),
        run("metrics", "--outcomes", files["outcomes"], "--report-scores", files["scores"], "--rule-based-judges",
            "rules", "--scoring", "{}", "--out", files["metrics"]),
        run("comparisons", "--outcomes", files["outcomes"], "--report-scores", files["scores"], "--rule-based-judges",
            "--baselines", "--scoring", "{}", "--out", files["pairs"], "--agreement", files["agree"]),
    ):  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    values = {(v.metric, v.judge): v.value for v in read_rows(files["metrics"], MetricValue) if v.subset == "macro"}
    assert values["crimson", "rules"] == values["green", "rules"] == values["micro_f1", None] == 1.0
    assert {r.fate for r in read_rows(files["findings"], JudgedFinding)} == {"matched"}
    assert read_rows(files["pairs"], Comparison) == []


@pytest.mark.parametrize("judge_name", ["x", "my_judge", "lab-normal", "a_b_abnormal"])
def test_judges_that_disagree_are_called_out_loudly_whatever_their_name(judge_name):
    scores = {
        system: {
            ScoreKey("crimson", judge_name): {str(n): (crimson, "valid") for n in range(5)},
            ScoreKey("green", judge_name): {str(n): (green, "valid") for n in range(5)},
            ScoreKey("green", judge_name, "normal"): {str(n): (green, "valid") for n in range(5)},
        }
        for system, crimson, green in (("base", 0.7, 0.77), ("tuned", 0.85, 0.73))
    }
    rows = agreements(scores)
    assert [r.opposed for r in rows] == [True]
    (line,) = warnings(rows)
    assert "WARNING" in line and f"crimson ({judge_name})" in line and f"green ({judge_name})" in line


def test_holm_corrects_the_headline_apart_from_the_details():
    rows = [
        Comparison("t", subset, "m", None, "higher", "a", "b", 0.1, None, None, p, None, 2, 2)
        for subset, p in (("macro", 0.01), ("macro", 0.04), ("x", 0.01), ("y", None))
    ]
    assert [r.p_holm for r in corrected(rows)] == [0.02, 0.04, 0.01, None]


def test_the_report_headline_is_a_judge_that_judged_something():
    def headline(**values):
        keys = {name: ScoreKey(*name.split("__")) for name in values}
        return headline_of({"base": {keys[name]: {"u": (value, "x")} for name, value in values.items()}}, ["rules"])

    crimson = ScoreKey("crimson", "rules")
    by_model = headline(crimson__rules=0.5, crimson__my_judge=0.4, rouge_l=0.1)
    assert by_model == ScoreKey("crimson", "my_judge")
    assert headline(crimson__rules=0.5, crimson__rules__normal=1.0, rouge_l=0.1) == crimson
    assert headline(crimson__rules=None, rouge_l=0.1) == ScoreKey("rouge_l")
    assert headline_of({}, []) is None


def test_outcomes_hold_plain_json(tables, tmp_path):
    rows = one_of_each()
    split, answers = tables(rows, [prediction(r.uid, r.answer) for r in rows])
    for r in read_rows(outcomes_file(tmp_path, split, answers, "base"), Outcome):
        assert json.loads(r.strict) == json.loads(r.lenient)
        if r.task not in ("span_qa", "probability", "clinical_decision"):  # references of another form
            assert json.loads(r.strict) == json.loads(r.reference)


def test_a_rule_based_judge_heads_no_run_that_has_a_model_judge_even_where_that_one_scored_nothing():
    text = {ScoreKey("rouge_l"): {"u": (0.1, "valid")}}
    rules = {ScoreKey("crimson", "rules"): {"u": (0.5, "valid")}, ScoreKey("green", "rules"): {"u": (0.5, "valid")}}
    green = {ScoreKey("green", "model"): {"u": (0.4, "valid")}}
    unread = {ScoreKey("crimson", "model"): {"u": (None, "invalid")}}
    assert headline_of({"base": rules | text | green}, ["rules"]) == ScoreKey("green", "model")
    assert headline_of({"base": rules | text | unread}, ["rules"]) == ScoreKey("rouge_l")
    assert headline_of({"base": rules | text}, ["rules"]) == ScoreKey("crimson", "rules")


def test_a_judge_that_abstained_on_most_rows_heads_nothing():
    values = {f"u{n}": (1.0 if n < 2 else None, "valid" if n < 2 else "abstained") for n in range(5)}
    scores = {
        "base": {ScoreKey("crimson", "rules"): values, ScoreKey("rouge_l"): dict.fromkeys(values, (0.1, "valid"))}
    }
    assert headline_of(scores, ["rules"]) == ScoreKey("rouge_l")
