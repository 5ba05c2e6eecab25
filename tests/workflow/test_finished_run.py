"""A finished run of the whole workflow: what it wrote, and the contract of `docs/reruns.md`.

One thing is changed in the run, and the plan is what the page says.
"""

import ast
import csv
import fnmatch
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from tests.workflow.contract import (
    CLONES,
    CONFIG,
    CONTRACT,
    LINES,
    ON_THE_COMMAND_LINE,
    RESULTS,
    SETTINGS,
    TOUCHED,
    globs,
)
from tests.workflow.runs import ROOT, checkout, planned, planned_files, snakemake
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import MetricValue, Prediction, QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.synthetic.model import write_model

pytestmark = pytest.mark.workflow
CONFIGURED = ("--configfile", CONFIG)
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
    """A finished run on two local datasets."""
    folder = checkout(tmp_path_factory.mktemp("reruns"))
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    raw["results"] = RESULTS
    raw["datasets"] = {name: {"source": "local", "path": f"local/{name}"} for name in ("lab", "clinic")}
    raw["splits"]["train"]["dataset"], raw["splits"]["validation"]["dataset"] = "lab", "clinic"
    write_model(record=folder / "checkpoints/tiny.json")
    shutil.copytree(folder / "checkpoints/tiny", folder / "checkpoints/other")
    model = {"source": "hub", "family": "gemma3", "checkpoint": "checkpoints/tiny", "gated": False, "gpus": 0}
    raw["models"]["tiny"] = model
    (folder / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))
    for seed, name in enumerate(raw["datasets"]):
        spec = f'{{"source": "synthetic", "seed": {seed}, "scale": 0.1}}'
        command = ["-m", "workflow_scripts.synthetic.dataset", "--spec", spec, "--out", f"local/{name}"]
        manifest = ["--manifest", str(folder / f"{name}.json")]
        subprocess.run([sys.executable, *command, *manifest], cwd=folder, check=True, capture_output=True)
    snakemake(folder, "--configfile", CONFIG)
    return folder


@contextmanager
def restored(path):
    """Put the content of a file back, with its time."""
    content, times = path.read_bytes(), path.stat()
    try:
        yield
    finally:
        path.write_bytes(content)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_every_metric_of_the_table_is_a_literal_of_the_code(done):
    """A search for the name that a table shows ends where the metric is defined."""
    metrics = {row.metric for row in read_rows(done / RESULTS / "scores/validation/metrics.parquet", MetricValue)}
    with (done / RESULTS / "report/validation/table.csv").open(newline="") as lines:
        metrics |= {line["metric"] for line in csv.DictReader(lines)}
    literals = {
        node.value
        for file in (ROOT / "workflow_scripts").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert len(metrics) > 30 and metrics - literals == set()


def edited(done, name, change):
    """The configuration with one change, beside it."""
    raw = yaml.safe_load((done / CONFIG).read_text())
    change(raw)
    path = done / "config" / f"{name}.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return ("--configfile", str(path))


def test_a_second_run_does_nothing_and_says_so(done):
    assert "Nothing to be done" in snakemake(done, *CONFIGURED)


def test_every_row_of_every_question_file_is_in_the_rows_or_in_quarantine_once(done):
    questions, source, rows, quarantine = [], Counter(), Counter(), Counter()
    for dataset in ("lab", "clinic"):
        folder, root = done / RESULTS / "data" / dataset, done / "local" / dataset
        for file in sorted(root.glob("*/*/*/*.json")):
            name = file.relative_to(root).with_suffix("").as_posix()
            content = json.loads(file.read_text(encoding="utf-8"))
            records = content if isinstance(content, list) else next(v for v in content.values() if isinstance(v, list))
            source.update(f"{dataset}:{name}/{number}" for number in range(len(records)))
            questions.append(file)
        rows.update(f"{dataset}:{row.uid}" for row in read_rows(folder / "rows.parquet", Row))
        quarantine.update(f"{dataset}:{row.uid}" for row in read_rows(folder / "quarantine.parquet", QuarantinedRow))
    assert len(questions) > 40 and rows.total() > 400 and quarantine.total() > 20
    assert rows + quarantine == source
    assert set(source.values()) == {1}


def test_every_system_answers_every_row(done):
    split = pq.read_table(done / RESULTS / "splits/validation/rows.parquet")["uid"].to_pylist()
    for system in ("base", "tuned", "majority"):
        answers = pq.read_table(done / RESULTS / f"predictions/validation/{system}.parquet")
        assert answers["uid"].to_pylist() == split


def test_the_table_shows_every_task_of_every_system(done):
    table = (done / RESULTS / "report/validation/table.md").read_text()
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
    command = [sys.executable, "-m", "workflow_scripts.cli.explain", f"{RESULTS}/report/validation/table.csv"]
    return subprocess.run([*command, *arguments], cwd=done, capture_output=True, text=True)


def test_a_number_is_explained_down_to_the_manifest_of_its_data(done):
    output = explained(done, "--task", "counting", "--system", "tuned").stdout
    for name in ("metrics", "outcomes", "predictions", "adapter", "model", "training rows", "data", "configuration"):
        assert f"\n  {name} " in output
    assert "trained until 20" in output and '"learning_rate": 0.002' in output and "tiny at " in output
    manifest = sha256_of_file(done / RESULTS / "data/clinic/manifest.json")
    assert f"manifest.json  sha256 {manifest[:12]}\n" in output and "CHANGED" not in output


def test_a_file_that_changed_since_the_table_is_marked(done):
    rows = done / RESULTS / "splits/train/rows.parquet"
    with restored(rows):
        rows.write_bytes(rows.read_bytes() + b" ")
        output = explained(done, "--task", "counting", "--system", "majority").stdout
    (line,) = [line for line in output.splitlines() if "CHANGED since the table was written" in line]
    assert "splits/train/rows.parquet" in line


def test_a_number_that_is_not_there_is_refused(done):
    output = explained(done, "--task", "counting", "--system", "nobody")
    assert output.returncode == 1 and "has no counting of nobody on macro; there are" in output.stderr


def test_sidecars_tell_version_git_packages_and_revisions(done):
    table = json.loads((done / RESULTS / "report/validation/table.provenance.json").read_text())
    adapter = json.loads((done / RESULTS / "systems/tuned/adapter/provenance.json").read_text())
    for sidecar in (table, adapter):
        assert {"workflow", "git", "python", "packages", "gpus", "written"} <= set(sidecar)
        assert sidecar["packages"]["pyarrow"]
    assert table["revisions"]["tiny"] == adapter["revision"]
    assert table["configuration"]["systems"]["tuned"]["recipe"] == "qlora"


@pytest.mark.parametrize("arguments", [("--dag",), ("--rulegraph",), ("--summary",), ("--report", "report.html")])
def test_snakemakes_own_views_work(done, arguments):
    output = snakemake(done, *CONFIGURED, *arguments)
    assert {"--dag": "digraph", "--rulegraph": "train_tune", "--summary": "table.csv"}.get(arguments[0], "") in output
    if arguments[0] == "--report":
        page = (done / "report.html").read_text()
        for category in ("Tables", "Figures", "Pages", "Audits", "Methods", "Model cards"):
            assert category in page
        assert "forest-base-tuned" in page and "table.tex" in page


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


def test_exported_answers_come_back_as_a_system_with_the_same_numbers(done, tmp_path):
    done = shutil.copytree(done, tmp_path / "copy")
    snakemake(done, "challenge", *CONFIGURED)
    exported = f"{RESULTS}/predictions/validation/tuned.json"
    change = edited(done, "again", lambda raw: raw["systems"].update(theirs={"predictions": exported}))
    snakemake(done, f"{RESULTS}/scores/validation/metrics.parquet", *change)
    ours, theirs = (
        read_rows(done / RESULTS / f"predictions/validation/{system}.parquet", Prediction)
        for system in ("tuned", "theirs")
    )
    assert [(row.uid, row.text) for row in theirs] == [(row.uid, row.text) for row in ours]
    assert {row.finish_reason for row in theirs} == {"imported"}
    metrics = read_rows(done / RESULTS / "scores/validation/metrics.parquet", MetricValue)
    by_system = {
        system: {
            (row.task, row.subset, row.metric, row.reading, row.judge, row.stratum): row.value
            for row in metrics
            if row.system == system
        }
        for system in ("tuned", "theirs")
    }
    assert by_system["tuned"] == by_system["theirs"] and len(by_system["tuned"]) > 100


def agreed(line, folder, *arguments):
    """Hold the plan in `folder` against a line of the contract."""
    everything, pending = planned_files(folder, RESULTS, "--configfile", CONFIG, *arguments)
    expected = {file for file in everything for glob in globs(CONTRACT[line]) if fnmatch.fnmatchcase(file, glob)}
    assert pending == expected
    assert CONTRACT[line] == "nothing" or expected


@pytest.mark.slow
@pytest.mark.parametrize("line", SETTINGS)
def test_a_setting_makes_again_what_the_page_says(done, line):
    with restored(done / CONFIG):
        raw = yaml.safe_load((done / CONFIG).read_text())
        SETTINGS[line](raw)
        (done / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))
        agreed(line, done)


@pytest.mark.slow
@pytest.mark.parametrize("line", LINES)
def test_a_line_of_code_makes_again_what_the_page_says(done, line):
    source = done / LINES[line]
    with restored(source):
        source.write_text(source.read_text() + "\n# a line\n")
        agreed(line, done)


def used_image(done, split):
    """The path of an image that a row of the split shows."""
    rows = pq.read_table(done / RESULTS / f"splits/{split}/rows.parquet").to_pylist()
    return next(image["path"] for row in rows for image in row["images"] if image["path"].endswith(".png"))


def repaint(path):
    image = Image.open(path).convert("RGB")
    image.putpixel((0, 0), (1, 2, 3))
    image.save(path)


def first_question(done):
    return sorted((done / "local/lab/training").glob("*/*/*.json"))[0]


DATA = {
    "a question file of the training data": first_question,
    "an image of the training data": lambda done: done / "local/lab" / used_image(done, "train"),
    "an image of the validation data": lambda done: done / "local/clinic" / used_image(done, "validation"),
}


@pytest.mark.slow
@pytest.mark.parametrize("line", DATA)
def test_an_edit_of_the_data_makes_again_what_the_page_says(done, line):
    path = DATA[line](done)
    with restored(path):
        if path.suffix == ".json":
            path.write_text(path.read_text() + " ")
        else:
            repaint(path)
        agreed(line, done)
    agreed("a touched image", done)


@pytest.mark.slow
def test_touched_files_make_again_nothing(done):
    """All of them at once, as a copy without times would have it."""
    times = {}
    for line, files in TOUCHED.items():
        paths = {path: path.stat() for path in files(done)}
        assert paths, line
        times |= paths
    for path in times:
        path.touch()
    for line in TOUCHED:
        assert CONTRACT[line] == "nothing"
    agreed(line, done)
    for path, before in times.items():
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.slow
def test_throughput_makes_again_nothing(done):
    for line in ON_THE_COMMAND_LINE:
        assert CONTRACT[line] == "nothing"
    agreed(line, done, *(flag for flags in ON_THE_COMMAND_LINE.values() for flag in flags))


@pytest.mark.slow
@pytest.mark.parametrize("line", CLONES)
def test_a_fresh_clone_beside_old_results_makes_again_nothing(done, line, tmp_path):
    clone = checkout(tmp_path / "clone", source=done)
    for file in clone.rglob("*"):
        file.touch()
    for name in ["local", "checkpoints", *CLONES[line]]:
        shutil.copytree(done / name, clone / name)
    agreed(line, clone)


def test_every_line_of_the_contract_is_tested():
    assert {*SETTINGS, *LINES, *DATA, *TOUCHED, *ON_THE_COMMAND_LINE, *CLONES} == set(CONTRACT)


@pytest.mark.extended
def test_after_a_changed_image_its_features_and_its_rows_alone_are_computed(done, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(done, folder)
    path = used_image(folder, "validation")
    repaint(folder / "local/clinic" / path)
    snakemake(folder, "--configfile", CONFIG)
    logs = {log.stem: log.read_text() for log in (folder / RESULTS / "logs").rglob("*.log")}
    assert ", 0 to compute" in logs["tiny.train"] and " stored, 1 to compute" in logs["tiny.validation"]
    assert "nothing to train" in logs["tuned"]
    rows = pq.read_table(folder / RESULTS / "splits/validation/rows.parquet").to_pylist()
    changed = sum(any(image["path"] == path for image in row["images"]) for row in rows)
    for system in ("base", "tuned"):
        assert f"{len(rows) - changed} cached, {changed} to generate" in logs[f"validation.{system}.1-of-1"]


@pytest.mark.extended
def test_a_second_checkout_with_the_same_store_calls_no_model(done, tmp_path):
    second = checkout(tmp_path / "second", source=done)
    raw = yaml.safe_load((done / CONFIG).read_text())
    raw["models"]["tiny"]["checkpoint"] = str(done / "checkpoints/tiny")
    raw["results"], raw["store"] = "results/second", str(done / RESULTS / "store")
    raw["datasets"] = {name: {"source": "local", "path": str(done / f"local/{name}")} for name in raw["datasets"]}
    (second / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))
    tables = [f"report/validation/{table}" for table in ("table.csv", "table.md")]
    snakemake(second, *(f"results/second/{table}" for table in tables), "--configfile", CONFIG)
    logs = {log.stem: log.read_text() for log in (second / "results/second/logs").rglob("*.log")}
    assert all(", 0 to compute" in logs[f"tiny.{split}"] for split in ("train", "validation"))
    assert all(", 0 to generate" in logs[f"validation.{system}.1-of-1"] for system in ("base", "tuned"))
    assert "nothing to train" in logs["tuned"]
    for table in tables:
        one, other = (folder / table for folder in (done / RESULTS, second / "results/second"))
        assert one.read_bytes() == other.read_bytes()
