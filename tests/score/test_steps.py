"""The steps from the command line: they agree with each other, and known failures are one sentence."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.score.conftest import one_of_each, prediction, row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.judges import RuleBasedJudge
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tables import (
    AGREEMENT,
    COMPARISONS,
    JUDGED_FINDINGS,
    METRICS,
    OUTCOMES,
    PREDICTIONS,
    ROW_FACTS,
    ROWS,
    read_table,
    write_table,
)
from workflow_scripts.core.tasks import TASKS
from workflow_scripts.score.comparisons import (
    agreement_rows,
    compare_systems,
    corrected,
    pairs_to_compare,
    warnings,
)
from workflow_scripts.score.judge import judge_system
from workflow_scripts.score.metrics import score_systems, scoring_of
from workflow_scripts.score.outcomes import read_outcomes
from workflow_scripts.score.reports import score_reports
from workflow_scripts.tasks.report.metrics import headline_of


def run(step: str, *arguments) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"workflow_scripts.score.{step}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Outcomes and report scores of two systems over a few rows of each task."""
    folder = tmp_path_factory.mktemp("scored")
    rows = [
        entry | {"uid": f"{copy}-{entry['uid']}", "case_id": f"{copy}-{entry['case_id']}"}
        for copy in range(6)
        for entry in one_of_each()
    ]
    split = folder / "split.parquet"
    write_table(split, rows, ROWS)
    made = {}
    for system, right in (("base", 2), ("tuned", 5)):
        wrong = {"report": "Cardiomegaly."}
        said = [
            entry["answer"] if int(entry["uid"][0]) < right else wrong.get(entry["task"], "I cannot tell.")
            for entry in rows
        ]
        answers, outcomes, judged, scores = (
            folder / f"{system}.{kind}" for kind in ("answers", "outcomes", "judged", "scores")
        )
        write_table(
            answers, [prediction(r["uid"], text, system) for r, text in zip(rows, said, strict=True)], PREDICTIONS
        )
        read_outcomes(split, answers, system, outcomes)
        judge_system(split, answers, "lexicon", RuleBasedJudge(), folder / "store", judged)
        score_reports(split, answers, [judged], scores)
        made[system] = (outcomes, scores)
    return made


def test_every_task_gets_its_primary_metric_for_every_system(scored, tmp_path):
    out = tmp_path / "metrics.parquet"
    outcomes, scores = zip(*scored.values(), strict=True)
    score_systems(outcomes, scores, Scoring(resamples=100), out)
    rows = read_table(out, METRICS).to_pylist()
    for task in TASKS:
        for system in scored:
            primary = [r for r in rows if r["task"] == task and r["system"] == system and r["primary"]]
            assert {r["dataset"] for r in primary} == {f"{task}-set", "macro", "pooled"}
            assert len({r["metric"] for r in primary}) == 1
            for r in primary:
                assert r["low"] <= r["value"] <= r["high"]
                assert r["rows"] == 6
    keys = [(r["system"], r["task"], r["dataset"], r["metric"]) for r in rows]
    assert len(keys) == len(set(keys))


def test_the_systems_are_compared_pairwise_and_corrected(scored, tmp_path):
    out, agreement = tmp_path / "c.parquet", tmp_path / "a.parquet"
    outcomes, scores = zip(*scored.values(), strict=True)
    compare_systems(outcomes, scores, [], Scoring(resamples=200), out, agreement)
    rows = [r for r in read_table(out, COMPARISONS).to_pylist() if r["dataset"] == "macro"]
    assert [r["task"] for r in rows] == list(TASKS)
    for r in rows:
        assert r["p"] <= r["p_holm"] <= 1
        better = r["difference"] > 0 if r["better"] == "higher" else r["difference"] < 0
        assert better
    assert read_table(agreement, AGREEMENT).num_rows > 0


def test_base_lines_are_compared_with_systems_and_never_among_themselves():
    pairs = pairs_to_compare(["base", "tuned", "majority", "empty"], ["majority", "empty"])
    assert pairs == [
        ("base", "tuned"), ("majority", "base"), ("empty", "base"), ("majority", "tuned"), ("empty", "tuned")
    ]  # fmt: skip
    assert pairs_to_compare(["majority", "empty"], ["majority", "empty"]) == []


def test_holms_family_holds_the_pairs_with_a_system_alone(tables, tmp_path):
    rows = [row(n, "counting", str(n), number=float(n)) for n in range(20)]
    paths = []
    for place, system in enumerate(("base", "majority", "empty", "constant")):
        split, answers = tables(
            rows, [prediction(r["uid"], str(n + place), system) for n, r in enumerate(rows)], system
        )
        paths.append(tmp_path / f"{system}.outcomes")
        read_outcomes(split, answers, system, paths[-1])
    compare_systems(
        paths, [], ["majority", "empty", "constant"], Scoring(resamples=100), tmp_path / "c", tmp_path / "a"
    )
    macro = [r for r in read_table(tmp_path / "c", COMPARISONS).to_pylist() if r["dataset"] == "macro"]
    assert [(r["system_a"], r["system_b"]) for r in macro] == [(b, "base") for b in ("majority", "empty", "constant")]
    assert [r["difference"] for r in macro] == [-1.0, -2.0, -3.0]
    assert [r["p_holm"] / r["p"] for r in macro] == pytest.approx([3.0] * 3)


def test_a_system_equal_to_another_differs_by_nothing(tables, tmp_path):
    rows = [row(n, "counting", str(n), number=float(n)) for n in range(20)]
    paths = []
    for system in ("one", "two"):
        split, answers = tables(rows, [prediction(r["uid"], "7", system) for r in rows], system)
        paths.append(tmp_path / f"{system}.parquet.outcomes")
        read_outcomes(split, answers, system, paths[-1])
    compare_systems(paths, [], [], Scoring(resamples=100), tmp_path / "c", tmp_path / "a")
    for r in read_table(tmp_path / "c", COMPARISONS).to_pylist():
        assert (r["difference"], r["p"]) == (0.0, 1.0)


def test_metrics_do_not_depend_on_which_systems_stand_beside(tables, tmp_path):
    rows = [row(n, "counting", str(n), number=float(n)) for n in range(20)]
    paths = []
    for system in ("one", "two"):
        split, answers = tables(
            rows, [prediction(r["uid"], str(len(system) + n), system) for n, r in enumerate(rows)], system
        )
        paths.append(tmp_path / f"{system}.outcomes")
        read_outcomes(split, answers, system, paths[-1])
    scoring = Scoring(resamples=200)
    score_systems(paths, [], scoring, tmp_path / "both")
    score_systems(paths[:1], [], scoring, tmp_path / "alone")
    both = [r for r in read_table(tmp_path / "both", METRICS).to_pylist() if r["system"] == "one"]
    assert both == read_table(tmp_path / "alone", METRICS).to_pylist()


def test_macro_is_the_mean_over_data_sets_and_pooled_is_over_rows(tables, tmp_path):
    rows = [row(n, "classification", "A", dataset="large" if n < 9 else "small") for n in range(10)]
    split, answers = tables(rows, [prediction(r["uid"], "A" if r["dataset"] == "large" else "B") for r in rows])
    read_outcomes(split, answers, "base", tmp_path / "o")
    score_systems([tmp_path / "o"], [], Scoring(resamples=100), tmp_path / "m")
    accuracy = {
        r["dataset"]: r["value"] for r in read_table(tmp_path / "m", METRICS).to_pylist() if r["metric"] == "accuracy"
    }
    assert accuracy == {"large": 1.0, "small": 0.0, "macro": 0.5, "pooled": 0.9}


def test_what_each_row_adds_is_written_beside_the_sums(scored, tmp_path):
    outcomes, scores = zip(*scored.values(), strict=True)
    score_systems(outcomes, scores, Scoring(resamples=100), tmp_path / "m", tmp_path / "f")
    facts = [r for r in read_table(tmp_path / "f", ROW_FACTS).to_pylist() if r["system"] == "tuned"]
    bounded = [r["value"] for r in facts if r["task"] == "counting" and r["fact"] == "bounded"]
    wanted = {"system": "tuned", "task": "counting", "metric": "mae", "dataset": "pooled"}
    rows = read_table(tmp_path / "m", METRICS).to_pylist()
    assert [r["value"] for r in rows if wanted.items() <= r.items()] == [sum(bounded) / len(bounded)]


def test_a_missing_prediction_is_a_row_with_an_outcome(tables, tmp_path):
    rows = one_of_each()
    split, answers = tables(rows, [prediction(rows[0]["uid"], "B")])
    read_outcomes(split, answers, "base", tmp_path / "o")
    outcomes = [r["outcome"] for r in read_table(tmp_path / "o", OUTCOMES).to_pylist()]
    assert outcomes == ["valid"] + ["missing"] * 6
    score_systems([tmp_path / "o"], [], Scoring(resamples=100), tmp_path / "m")
    rows = read_table(tmp_path / "m", METRICS).to_pylist()
    assert {r["value"] for r in rows if r["metric"] == "f1_50"} == {0.0}
    assert all(np.isfinite(r["value"]) for r in rows if r["metric"] == "mae")


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
    one_sentence(run("metrics", "--outcomes", split, "--spec", "{}", "--out", out), "columns")
    asked = ["--split", split, "--predictions", answers, "--judge", "j", "--store", tmp_path, "--out", out]
    one_sentence(run("judge", *asked, "--spec", '{"backend": "oracle"}'), "judge")
    assert not out.exists()
    with pytest.raises(BadFile, match="missing"):
        read_outcomes(tmp_path / "none", answers, "s", out)
    with pytest.raises(Refused, match="scoring"):
        scoring_of('{"resamples": 1}')


def test_each_step_runs_from_the_command_line(tables, tmp_path):
    rows = one_of_each()
    split, answers = tables(rows, [prediction(r["uid"], r["answer"]) for r in rows])
    made = {name: tmp_path / name for name in ("outcomes", "judged", "scores", "findings", "metrics")}
    store = tmp_path / "store"
    for ended in (
        run("outcomes", "--split", split, "--predictions", answers, "--system", "base", "--out", made["outcomes"]),
        run("judge", "--split", split, "--predictions", answers, "--judge", "lexicon", "--spec",
            '{"backend":"lexicon"}', "--store", store, "--out", made["judged"]),
        run("report_metrics", "--split", split, "--predictions", answers, "--judgements", made["judged"], "--out",
            made["scores"], "--findings", made["findings"]),
        run("metrics", "--outcomes", made["outcomes"], "--report-scores", made["scores"], "--spec", "{}", "--out",
            made["metrics"]),
    ):  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    values = {r["metric"]: r["value"] for r in read_table(made["metrics"], METRICS).to_pylist()}
    assert values["crimson_offline"] == values["green_offline"] == values["micro_f1"] == 1.0
    assert {r["fate"] for r in read_table(made["findings"], JUDGED_FINDINGS).to_pylist()} == {"matched"}


def test_judges_that_disagree_are_called_out_loudly():
    scores = {
        system: {
            "crimson_x": {str(n): (crimson, "valid") for n in range(5)},
            "green_x": {str(n): (green, "valid") for n in range(5)},
        }
        for system, crimson, green in (("base", 0.7, 0.77), ("tuned", 0.85, 0.73))
    }
    rows = agreement_rows(scores)
    assert [r["opposed"] for r in rows] == [True]
    (line,) = warnings(rows)
    assert "WARNING" in line and "crimson_x" in line and "green_x" in line


def test_holm_corrects_the_headline_apart_from_the_details():
    rows = [
        {"dataset": d, "p": p, "p_holm": None} for d, p in (("macro", 0.01), ("macro", 0.04), ("x", 0.01), ("y", None))
    ]
    assert [r["p_holm"] for r in corrected(rows)] == [0.02, 0.04, 0.01, None]


def test_the_report_headline_is_a_judge_that_judged_something():
    def scores(**values):
        return {"base": {name: {"u": (value, "x")} for name, value in values.items()}}

    assert headline_of(scores(crimson_offline=0.5, crimson_medgemma=0.4, rouge_l=0.1)) == "crimson_medgemma"
    assert headline_of(scores(crimson_offline=0.5, crimson_offline_normal=1.0, rouge_l=0.1)) == "crimson_offline"
    assert headline_of(scores(crimson_offline=None, rouge_l=0.1)) == "rouge_l"
    assert headline_of({}) is None


def test_outcomes_hold_plain_json(tables, tmp_path):
    rows = one_of_each()
    split, answers = tables(rows, [prediction(r["uid"], r["answer"]) for r in rows])
    read_outcomes(split, answers, "base", tmp_path / "o")
    for r in read_table(tmp_path / "o", OUTCOMES).to_pylist():
        assert json.loads(r["strict"]) == json.loads(r["lenient"]) == json.loads(r["gold"])
