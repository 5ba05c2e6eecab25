"""What somebody gives and may replace is part of the plan by content: files of predictions and replies, checkpoints."""

import json
import os
import shutil
from importlib.util import find_spec

import pyarrow.parquet as pq
import pytest
import yaml

from tests.chat_server import ChatServer, Reply
from tests.score.test_judging import reply
from tests.workflow.runs import ROOT, checkout, planned, snakemake
from workflow_scripts.core.rows import JudgedPair, Prediction
from workflow_scripts.core.tables import read_rows

pytestmark = [pytest.mark.workflow, pytest.mark.extended]
CONFIG, RESULTS = ("--configfile", "config/given.yaml"), "results/given"
OF_ANSWERS = {"infer_imported", "score_outcomes", "score_judge", "score_reports"}
OF_JUDGEMENTS = {"score_judge", "score_reports"}
TABLE = f"{RESULTS}/report/validation/table.csv"
TABLES = {"score_metrics", "score_comparisons", "report_tables", "report_figures", "report_page"}


def write_predictions(folder, text, name="theirs.jsonl"):
    """The same answer to every row; each file is newer than the last, unless its time is set back."""
    rows = pq.read_table(folder / RESULTS / "splits/validation/rows.parquet").to_pylist()
    lines = [json.dumps({"uid": row["uid"], "prediction": text}) for row in rows]
    (folder / name).write_text("\n".join(lines))


def write_replies(folder, significance, name="replies.jsonl"):
    """A recorded judgement of every pair of reports."""
    rows = pq.read_table(folder / RESULTS / "splits/validation/rows.parquet").to_pylist()
    answers = read_rows(folder / RESULTS / "predictions/validation/majority.parquet", Prediction)
    texts = {answer.uid: answer.text for answer in answers}
    pairs = {(row["answer"], text) for row in rows for text in (texts[row["uid"]], "No mass.", "No rash.")}
    lines = [
        json.dumps({"reference": reference, "hypothesis": hypothesis, "reply": reply(significance)})
        for reference, hypothesis in sorted(pairs)
    ]
    (folder / name).write_text("\n".join(lines))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run on imported predictions and recorded replies."""
    folder = checkout(tmp_path_factory.mktemp("given"))
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    raw |= {"results": RESULTS, "models": {}, "recipes": {}}
    raw["systems"] = {"theirs": {"predictions": "theirs.jsonl"}, "majority": {"baseline": "majority", "train": "train"}}
    panel = {"backend": "recorded", "metric": "crimson", "path": "replies.jsonl", "freeze_references": False}
    raw["judges"] = {"panel": panel}
    (folder / CONFIG[1]).write_text(yaml.safe_dump(raw, sort_keys=False))
    for name in ("theirs.jsonl", "replies.jsonl"):
        (folder / name).touch()
    snakemake(folder, f"{RESULTS}/predictions/validation/majority.parquet", *CONFIG)
    write_predictions(folder, "No mass.")
    write_replies(folder, "urgent")
    snakemake(folder, *CONFIG)
    return folder


def replaced(folder, name, write):
    """Put another file, older than any output, in the place of the given one, with its time."""
    write(name="other")
    os.utime(folder / "other", (1, 1))
    shutil.copy2(folder / "other", folder / name)


def test_an_older_file_of_predictions_in_the_place_of_the_first_is_read(done):
    assert planned(done, *CONFIG) == {}
    content, times = (done / "theirs.jsonl").read_bytes(), (done / "theirs.jsonl").stat()
    replaced(done, "theirs.jsonl", lambda name: write_predictions(done, "No rash.", name))
    assert planned(done, *CONFIG).keys() == OF_ANSWERS | TABLES
    snakemake(done, TABLE, *CONFIG)
    answers = read_rows(done / RESULTS / "predictions/validation/theirs.parquet", Prediction)
    assert {answer.text for answer in answers} == {"No rash."}
    assert planned(done, TABLE, *CONFIG) == {}
    (done / "theirs.jsonl").write_bytes(content)
    os.utime(done / "theirs.jsonl", ns=(times.st_atime_ns, times.st_mtime_ns))
    assert planned(done, *CONFIG).keys() == OF_ANSWERS | TABLES


def test_recorded_replies_in_the_place_of_the_first_are_read_and_a_touch_plans_nothing(done):
    snakemake(done, TABLE, *CONFIG)
    replaced(done, "replies.jsonl", lambda name: write_replies(done, "benign_expected", name))
    plan = planned(done, *CONFIG)
    assert plan.keys() == OF_JUDGEMENTS | TABLES and plan["score_judge"] == 1
    snakemake(done, TABLE, *CONFIG)
    pairs = read_rows(done / RESULTS / "scores/validation/judgements/panel.1-of-1.parquet", JudgedPair)
    assert pairs and all("benign_expected" in pair.reply for pair in pairs)
    for name in ("theirs.jsonl", "replies.jsonl"):
        (done / name).touch()
    assert planned(done, TABLE, *CONFIG) == {}


def with_judge(done, name, judge):
    """The configuration with another judge instead."""
    raw = yaml.safe_load((done / CONFIG[1]).read_text())
    raw["judges"] = {"mine": judge}
    (done / f"config/{name}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return ("--configfile", f"config/{name}.yaml")


@pytest.fixture
def checkpoint(done):
    """Files that look like a checkpoint, and that no run has seen."""
    shutil.rmtree(done / RESULTS / "models", ignore_errors=True)
    folder = done / "checkpoints/judge"
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"):
        (folder / name).write_text(name)
    return folder


def test_a_local_judge_that_changes_in_place_is_recorded_anew_and_judges_again(done, checkpoint):
    judge = {"backend": "transformers", "metric": "crimson", "checkpoint": "checkpoints/judge", "gpus": 0}
    configuration, record = with_judge(done, "local", judge), f"{RESULTS}/models/judges/mine.json"
    plan = planned(done, *configuration)
    assert plan["models_fetch"] == 1 and plan["score_judge"] == 1
    snakemake(done, record, *configuration)
    assert "models_fetch" not in planned(done, *configuration)
    name = "chat_template.jinja"
    times = (checkpoint / name).stat()
    (checkpoint / name).write_text(name[::-1])  # of the same size and time
    os.utime(checkpoint / name, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert planned(done, *configuration)["models_fetch"] == 1
    (checkpoint / name).write_text(name)
    assert "models_fetch" not in planned(done, *configuration)


def test_bertscores_encoder_is_recorded_like_any_checkpoint(done, checkpoint):
    raw = yaml.safe_load((done / CONFIG[1]).read_text())
    raw["scoring"]["bertscore"] = {"checkpoint": "checkpoints/judge", "layer": 1}
    (done / "config/bert.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    plan = planned(done, "--configfile", "config/bert.yaml")
    assert plan["models_fetch"] == 1 and plan["score_bertscore"] == 2


@pytest.mark.skipif(find_spec("CRIMSON") is None, reason="needs `pip install --no-deps crimson-score`")
def test_another_prompt_of_the_upstream_package_plans_the_judge_again_and_asks_again(done, tmp_path):
    """Another version of the package is a copy that Python finds first."""
    [installed] = find_spec("CRIMSON").submodule_search_locations
    source = shutil.copytree(installed, tmp_path / "CRIMSON") / "prompt_parts.py"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    target = f"{RESULTS}/scores/validation/judgements/mine.1-of-1.parquet"
    with ChatServer(lambda _: Reply(reply())) as server:
        judge = {"backend": "openai", "metric": "crimson", "url": server.url, "model": "base", "revision": "1"}
        arguments = (target, *with_judge(done, "server", judge | {"freeze_references": False}))
        snakemake(done, *arguments, env=environment)
        pairs = len(server.bodies)
        assert pairs and "Nothing to be done" in snakemake(done, "-n", *arguments, env=environment)
        with source.open("a") as stream:
            stream.write("\n# a remark\n")
        assert "score_judge" in snakemake(done, *arguments, env=environment)
        assert len(server.bodies) == pairs  # the prompt is what it was
        with source.open("a") as stream:
            stream.write("first = build_prompt\ndef build_prompt(*a, **k):\n    return first(*a, **k) + 'Be strict.'\n")
        snakemake(done, *arguments, env=environment)
        assert len(server.bodies) == 2 * pairs
        assert all("Be strict." in body["messages"][-1]["content"] for body in server.bodies[pairs:])


def test_a_served_model_whose_files_are_here_is_recorded_first(done, checkpoint):
    raw = yaml.safe_load((done / CONFIG[1]).read_text())
    raw["models"] = {"mine": {"source": "hub", "family": "gemma3", "checkpoint": "checkpoints/judge", "gated": False}}
    raw["engines"] = {"lab": {"url": "http://127.0.0.1:9/v1"}}
    raw["systems"] = {"there": {"model": "mine", "engine": "lab", "served_as": "mine"}}
    (done / "config/served.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    plan = planned(done, "--configfile", "config/served.yaml")
    assert plan["models_fetch"] == plan["infer_ask"] == 1 and "features_extract" not in plan
