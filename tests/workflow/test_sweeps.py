"""A sweep: its settings in a plan, and a run that is killed, goes on, and chooses before it opens what it evaluates."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests.workflow.runs import ROOT, checkout, logged_out, planned, snakemake
from workflow_scripts.core.rows import MetricValue, Prediction
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.training_rows import SampleAnswer, TrainingStep

pytestmark = pytest.mark.workflow
CONFIG, RESULTS = "config/sweep.yaml", "results/sweep"
FULL = {
    **{"weights": "attention", "quantisation": "none", "optimiser": "sgd", "schedule": "cosine", "warmup": 0.1},
    **{"max_grad_norm": 10.0, "epochs": None, "steps": 4, "micro_batch": 8},
    "evaluation": {"every": 2, "rows": 16, "samples": 2},
}
SETTINGS = [
    {"batch": 4, "learning_rate": 5e-3},
    {"batch": 4, "learning_rate": 1.5e-2, "evaluation.keep": "last"},
    {"batch": 4, "learning_rate": 5e-2},
    {"batch": 8, "learning_rate": 1e-2},
    {"batch": 8, "learning_rate": 2e-2},
    {"batch": 8, "learning_rate": 5e-3},
    {"batch": 8, "learning_rate": 1.5e-2, "evaluation.keep": "last"},
]
NAMES = [
    *("study-b4-lr5e-3", "study-b4-lr15e-3-last", "study-b4-lr5e-2", "study-b8-lr1e-2", "study-b8-lr2e-2"),
    *("study-b8-lr5e-3", "study-b8-lr15e-3-last"),
]


def written(folder, **changes):
    """A checkout with the study in seven settings on the toy dataset and model."""
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    raw["results"] = RESULTS
    raw["datasets"]["toy"]["scale"] = 0.05
    raw["recipes"] = {"full": FULL}
    raw["systems"] = {"base": {"model": "tiny"}}
    raw["judges"] = {}
    sweep = {"model": "tiny", "recipe": "full", "train": "train", "select": {"on": "holdout"}, "settings": SETTINGS}
    raw["sweeps"] = {"study": sweep | changes}
    checkout(folder)
    (folder / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("sweep"))


def test_a_plan_names_every_setting_computes_features_once_and_chooses(folder):
    output = snakemake(folder, "-n", "--configfile", CONFIG)
    assert [name for name in NAMES if f"Tuning {name} on stored features" in output] == NAMES
    assert output.count("Computing vision features of train with tiny") == 1
    assert output.count("Choosing the setting of study") == 1
    plan = dict(re.findall(r"^(\w+) +(\d+)$", output, re.M))
    assert (plan["train_tune_weights"], plan["train_select_weights"]) == ("7", "1")
    assert (plan["features_extract"], plan["infer_gather"]) == ("2", "9")


def test_no_job_of_an_evaluated_split_can_run_before_the_selection(folder):
    """Everything that reads the split comes after the job that writes it, and that one after the selection."""
    wanted = f"{RESULTS}/splits/validation/rows.parquet"
    plan = planned(folder, wanted, "--configfile", CONFIG)
    assert (plan["train_tune_weights"], plan["train_select_weights"]) == (7, 1)
    train = planned(folder, f"{RESULTS}/systems/study/selection.json", "--configfile", CONFIG)
    assert (train["data_split"], train["features_extract"]) == (1, 1)
    assert not train.keys() & {"infer_answer", "score_outcomes", "score_metrics"}


@pytest.mark.slow
def test_settings_alone_or_the_chosen_one_alone_are_evaluated_as_the_sweep_says(tmp_path):
    chosen = planned(written(tmp_path / "chosen", evaluate="chosen"), "--configfile", CONFIG)
    assert (chosen["train_tune_weights"], chosen["infer_gather"], chosen["report_card"]) == (7, 2, 1)
    none = planned(written(tmp_path / "none", select=None), "--configfile", CONFIG)
    assert (none["train_tune_weights"], none["infer_gather"], "train_select_weights" in none) == (7, 8, False)


def test_the_iit_delhi_study_plans_its_seven_settings_without_token_or_network(folder):
    output = snakemake(folder, "-n", "--configfile", "config/paligemma2-sweep.yaml", env=logged_out())
    for setting in ("b8-lr5e-5", "b8-lr15e-5-last", "b8-lr5e-4", "b16-lr1e-4", "b16-lr2e-4", "b16-lr5e-5",
                    "b16-lr15e-5-last"):  # fmt: skip
        assert output.count(f"Tuning paligemma2-{setting} on stored features") == 1
    assert output.count("Computing vision features of train with paligemma2") == 1


WATCH = """
import os, sys, time
log = os.open(os.environ["OPENED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def note(event, arguments):
    path = str(arguments[0]) if event == "open" else ""
    if "validation-public" in path or ("results/" in path and "/validation" in path):
        command = " ".join(sys.orig_argv)
        os.write(log, f"{time.time_ns()}\\t{command!r}\\t{path}\\n".encode())
sys.addaudithook(note)
"""
"""`sitecustomize` of every Python process of a run: notes each file of the validation data that it opens, and when."""

BEFORE = ("workflow_scripts.synthetic.", "workflow_scripts.data.convert", "workflow_scripts.data.audit")
"""Steps that look at all data alike, and know of no system."""


def opened(log):
    """Time, command and path of each opened file."""
    for line in log.read_text().splitlines():
        when, command, path = line.split("\t")
        yield int(when), command, path


def begun(folder):
    """Settings that have saved their second step and are not finished."""
    systems = folder / RESULTS / "systems"
    states = {path.parents[3].name for path in systems.glob("study-*/checkpoints/*/checkpoint-2/trainer_state.json")}
    return states - {path.parent.name for path in systems.glob("study-*/history.parquet")}


def killed_and_resumed(folder, *targets):
    """Run the study, kill it with all its jobs while it tunes, and run it again.

    Returns what both runs printed, the settings that were finished at the kill with their time, and those begun.
    """
    (folder / "watch").mkdir()
    (folder / "watch/sitecustomize.py").write_text(WATCH)
    log = folder / "opened.tsv"
    log.touch()
    environment = os.environ | {"OPENED": str(log), "OMP_NUM_THREADS": "1"}
    environment["PYTHONPATH"] = os.pathsep.join([str(folder / "watch"), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "--configfile", CONFIG]
    histories = (folder / RESULTS / "systems").glob
    with (folder / "first.log").open("w") as stream:
        options = {"stdout": stream, "stderr": stream, "start_new_session": True}
        first = subprocess.Popen(command, cwd=folder, env=environment, **options)
        limit = time.monotonic() + 1800
        while not list(histories("study-*/history.parquet")) or not begun(folder):
            assert first.poll() is None and time.monotonic() < limit, (folder / "first.log").read_text()[-3000:]
            time.sleep(0.02)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
    finished = {path.parent.name: path.stat().st_mtime_ns for path in histories("study-*/history.parquet")}
    cut = begun(folder)
    snakemake(folder, "--unlock", "--configfile", CONFIG)
    second = snakemake(folder, *targets, "--configfile", CONFIG, env=environment)
    return (folder / "first.log").read_text(), second, finished, cut


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run that was killed, and went on: its folder, and what `killed_and_resumed` says."""
    folder = written(tmp_path_factory.mktemp("killed"))
    return folder, *killed_and_resumed(folder)


@pytest.mark.extended
def test_a_killed_sweep_goes_on_where_it_was(done):
    folder, _, second, finished, cut = done
    assert 1 <= len(finished) < len(NAMES) and len(cut) == 1
    for name, changed in finished.items():
        assert (folder / RESULTS / "systems" / name / "history.parquet").stat().st_mtime_ns == changed
        assert f"Tuning {name} " not in second
    assert sum(f"Tuning {name} " in second for name in NAMES) == len(NAMES) - len(finished)
    for name in NAMES:
        steps = [entry.step for entry in read_rows(folder / RESULTS / f"systems/{name}/history.parquet", TrainingStep)]
        assert sorted(set(steps)) == [1, 2, 3, 4]
        answers = read_rows(folder / RESULTS / f"systems/{name}/samples.parquet", SampleAnswer)
        assert [answer.step for answer in answers] == [2, 2, 4, 4]
        log = (folder / RESULTS / f"logs/train_tune/{name}.log").read_text()
        assert log.count("'loss': ") == (2 if name in cut else 4), "from the checkpoint of step 2, or from the start"


@pytest.mark.extended
def test_features_of_the_training_rows_are_computed_once_for_all_settings(done):
    _, first, second, *_ = done
    both = first + second
    assert both.count("Computing vision features of train with tiny") == 1
    assert both.count("vision features of") >= 2


@pytest.mark.extended
def test_nothing_of_the_validation_split_is_opened_before_the_selection(done):
    folder, *_ = done
    selected = (folder / RESULTS / "systems/study/selection.json").stat().st_mtime_ns
    accesses = list(opened(folder / "opened.tsv"))
    tuning = [access for access in accesses if "workflow_scripts.train.tune" in access[1]]
    choosing = [access for access in accesses if "workflow_scripts.train.select" in access[1]]
    assert tuning == [] and choosing == []
    later = [
        access for access in accesses if "workflow_scripts." in access[1] and not any(n in access[1] for n in BEFORE)
    ]
    assert any("features.extract" in command for _, command, _ in later), "the hook sees what is opened"
    assert [access for access in later if access[0] < selected] == []
    for part in ("splits/validation", "features/tiny/validation", "predictions/validation"):
        files = [path for path in (folder / RESULTS / part).rglob("*") if path.is_file()]
        assert files and min(path.stat().st_mtime_ns for path in files) > selected


@pytest.mark.extended
def test_the_chosen_setting_has_the_least_loss_and_its_answers_are_the_settings_own(done):
    folder, *_ = done
    selection = json.loads((folder / RESULTS / "systems/study/selection.json").read_text())
    losses = {entry["name"]: entry["loss"] for entry in selection["settings"]}
    assert list(losses) == NAMES and losses[selection["chosen"]] == min(losses.values())
    for name in NAMES:
        history = read_rows(folder / RESULTS / f"systems/{name}/history.parquet", TrainingStep)
        evaluated = [entry.evaluation_loss for entry in history if entry.evaluation_loss is not None]
        assert losses[name] == (evaluated[-1] if name.endswith("-last") else min(evaluated))
    answers = {
        name: {
            row.uid: row.text
            for row in read_rows(folder / RESULTS / f"predictions/validation/{name}.parquet", Prediction)
        }
        for name in ("study", selection["chosen"])
    }
    assert answers["study"] == answers[selection["chosen"]]
    log = (folder / RESULTS / "logs/infer_answer/validation.study.1-of-1.log").read_text()
    assert "0 to generate" in log


@pytest.mark.extended
def test_one_table_and_one_plot_show_all_settings(done):
    folder, *_ = done
    metrics = read_rows(folder / RESULTS / "scores/validation/metrics.parquet", MetricValue)
    assert {row.system for row in metrics} == {"base", "study", *NAMES}
    figures = json.loads((folder / RESULTS / "report/validation/figures/figures.json").read_text())
    names = [figure["name"] for figure in figures]
    assert names.count("sweep-study") == 1
    (sweep,) = [figure for figure in figures if figure["name"] == "sweep-study"]
    assert all(name in sweep["description"] for name in NAMES) and "Chosen: study-" in sweep["description"]
    for name in NAMES:
        assert names.index(f"samples-{name}") == names.index(f"training-{name}") + 1
    assert "sweep-study" in (folder / RESULTS / "report/validation/index.html").read_text()
    assert "Nothing to be done" in snakemake(folder, "--configfile", CONFIG)
