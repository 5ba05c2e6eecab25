"""The whole workflow once, on config/smoke.yaml, and what a change makes it do again."""

import ast
import csv
import json
import subprocess
import sys
from collections import Counter

import pyarrow.parquet as pq
import pytest
import yaml

from tests.workflow.runs import ROOT, checkout, planned, snakemake
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import MetricValue, Prediction, QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows

pytestmark = pytest.mark.workflow
SMOKE = ("--configfile", "config/smoke.yaml")
OF_A_SYSTEM = {
    "infer_answer": 1,
    "infer_gather": 1,
    "score_outcomes": 1,
    "score_judge": 1,
    "score_reports": 3,
    "score_comparisons": 1,
    "score_metrics": 1,
    "report_tables": 1,
    "report_figures": 1,
    "report_page": 1,
    "report_card": 1,
}
"""The jobs that answers of one system lead to; the reports of all systems are judged together."""


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = checkout(tmp_path_factory.mktemp("smoke"))
    snakemake(folder, *SMOKE)
    return folder


def test_every_metric_of_the_table_is_a_literal_of_the_code(done):
    """A search for the name that a table shows ends where the metric is defined."""
    metrics = {row.metric for row in read_rows(done / "results/smoke/scores/validation/metrics.parquet", MetricValue)}
    with (done / "results/smoke/report/validation/table.csv").open(newline="") as lines:
        metrics |= {line["metric"] for line in csv.DictReader(lines)}
    literals = {
        node.value
        for file in (ROOT / "workflow_scripts").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert len(metrics) > 30 and metrics - literals == set()


def edited(done, name, change):
    """A configuration like smoke.yaml with one change, beside it."""
    raw = yaml.safe_load((done / "config/smoke.yaml").read_text())
    change(raw)
    path = done / "config" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return ("--configfile", str(path))


def test_a_second_run_does_nothing_and_says_so(done):
    assert "Nothing to be done" in snakemake(done, *SMOKE)


def test_every_row_of_every_question_file_is_in_the_rows_or_in_quarantine_once(done):
    folder = done / "results/smoke/data/toy"
    questions = sorted((folder / "root").glob("*/*/*/*.json"))
    source = Counter()
    for file in questions:
        name = file.relative_to(folder / "root").with_suffix("").as_posix()
        content = json.loads(file.read_text(encoding="utf-8"))
        records = content if isinstance(content, list) else next(v for v in content.values() if isinstance(v, list))
        source.update(f"{name}/{number}" for number in range(len(records)))
    rows = Counter(row.uid for row in read_rows(folder / "rows.parquet", Row))
    quarantine = Counter(row.uid for row in read_rows(folder / "quarantine.parquet", QuarantinedRow))
    assert len(questions) > 20 and rows.total() > 200 and quarantine.total() > 10
    assert rows + quarantine == source
    assert set(source.values()) == {1}


def test_every_system_answers_every_row(done):
    split = pq.read_table(done / "results/smoke/splits/validation/rows.parquet")["uid"].to_pylist()
    for system in ("base", "tuned", "majority"):
        answers = pq.read_table(done / f"results/smoke/predictions/validation/{system}.parquet")
        assert answers["uid"].to_pylist() == split


def test_the_table_shows_every_task_of_every_system(done):
    table = (done / "results/smoke/report/validation/table.md").read_text()
    for task in (
        "classification",
        "multi label",
        "detection",
        "instance detection",
        "counting",
        "regression",
        "report",
    ):
        assert f"| {task} | **macro** |" in table
    assert "| base | tuned | majority |" in table


def explained(done, *arguments):
    command = [sys.executable, "-m", "workflow_scripts.cli.explain", "results/smoke/report/validation/table.csv"]
    return subprocess.run([*command, *arguments], cwd=done, capture_output=True, text=True)


def test_a_number_is_explained_down_to_the_manifest_of_its_data(done):
    output = explained(done, "--task", "counting", "--system", "tuned").stdout
    for name in ("metrics", "outcomes", "predictions", "adapter", "model", "training rows", "data", "configuration"):
        assert f"\n  {name} " in output
    assert "trained until 20" in output and '"learning_rate": 0.002' in output and "tiny at " in output
    manifest = sha256_of_file(done / "results/smoke/data/toy/manifest.json")
    assert f"manifest.json  sha256 {manifest[:12]}\n" in output and "CHANGED" not in output


def test_a_file_that_changed_since_the_table_is_marked(done):
    rows = done / "results/smoke/splits/train/rows.parquet"
    content = rows.read_bytes()
    rows.write_bytes(content + b" ")
    output = explained(done, "--task", "counting", "--system", "majority").stdout
    rows.write_bytes(content)
    (line,) = [line for line in output.splitlines() if "CHANGED since the table was written" in line]
    assert "splits/train/rows.parquet" in line


def test_a_number_that_is_not_there_is_refused(done):
    output = explained(done, "--task", "counting", "--system", "nobody")
    assert output.returncode == 1 and "has no counting of nobody on macro; there are" in output.stderr


def test_sidecars_tell_version_git_packages_and_revisions(done):
    table = json.loads((done / "results/smoke/report/validation/table.provenance.json").read_text())
    adapter = json.loads((done / "results/smoke/systems/tuned/adapter/provenance.json").read_text())
    for sidecar in (table, adapter):
        assert {"workflow", "git", "python", "packages", "gpus", "written"} <= set(sidecar)
        assert sidecar["packages"]["pyarrow"]
    assert table["revisions"]["tiny"] == adapter["revision"]
    assert table["configuration"]["systems"]["tuned"]["recipe"] == "qlora"


@pytest.mark.parametrize("arguments", [("--dag",), ("--rulegraph",), ("--summary",), ("--report", "report.html")])
def test_snakemakes_own_views_work(done, arguments):
    output = snakemake(done, *SMOKE, *arguments)
    assert {"--dag": "digraph", "--rulegraph": "train_tune", "--summary": "table.csv"}.get(arguments[0], "") in output
    if arguments[0] == "--report":
        page = (done / "report.html").read_text()
        for category in ("Tables", "Figures", "Pages", "Audits", "Methods", "Model cards"):
            assert category in page
        assert "forest-base-tuned" in page and "table.tex" in page


def test_a_learning_rate_retrains_its_system_and_what_follows_and_nothing_else(done):
    change = edited(done, "rate", lambda raw: raw["recipes"]["qlora"].update(learning_rate=1e-3))
    assert planned(done, *change) == {"train_tune": 1} | OF_A_SYSTEM


def test_a_caption_rewrites_the_page_alone(done):
    change = edited(done, "caption", lambda raw: raw["report"].update(caption="A better one."))
    assert planned(done, *change) == {"report_page": 1}


def test_a_new_system_runs_its_own_jobs_and_the_tables(done):
    change = edited(done, "system", lambda raw: raw["systems"].update(again={"model": "tiny"}))
    assert planned(done, *change) == OF_A_SYSTEM | {"score_reports": 4}


def test_a_removed_system_rewrites_the_judgements_and_the_tables(done):
    change = edited(done, "removed", lambda raw: raw["systems"].pop("majority"))
    assert planned(done, *change) == {
        "score_judge": 1,
        "score_reports": 2,
        "score_comparisons": 1,
        "score_metrics": 1,
        "report_tables": 1,
        "report_figures": 1,
        "report_page": 1,
        "report_card": 1,
    }


def test_batch_sizes_change_nothing(done):
    assert planned(done, *SMOKE, "--set-resources", "infer_answer:batch=3") == {}


def test_a_report_stage_line_rewrites_the_report_alone(done):
    source = done / "workflow_scripts/report/page.py"
    before = source.read_text()
    source.write_text(before + "\n# a line\n")
    try:
        assert planned(done, *SMOKE) == {"report_page": 1}
    finally:
        source.write_text(before)


def test_exported_answers_come_back_as_a_system_with_the_same_numbers(done):
    snakemake(done, "challenge", *SMOKE)
    exported = "results/smoke/predictions/validation/tuned.json"
    change = edited(done, "again", lambda raw: raw["systems"].update(theirs={"predictions": exported}))
    snakemake(done, "results/smoke/scores/validation/metrics.parquet", *change)
    ours, theirs = (
        read_rows(done / f"results/smoke/predictions/validation/{system}.parquet", Prediction)
        for system in ("tuned", "theirs")
    )
    assert [(row.uid, row.text) for row in theirs] == [(row.uid, row.text) for row in ours]
    assert {row.finish_reason for row in theirs} == {"imported"}
    metrics = read_rows(done / "results/smoke/scores/validation/metrics.parquet", MetricValue)
    by_system = {
        system: {
            (row.task, row.subset, row.metric, row.reading, row.judge, row.stratum): row.value
            for row in metrics
            if row.system == system
        }
        for system in ("tuned", "theirs")
    }
    assert by_system["tuned"] == by_system["theirs"] and len(by_system["tuned"]) > 100
