"""The contract of `docs/reruns.md`: one thing is changed in a finished run, and the plan is what the page says."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from tests.workflow.runs import ROOT, checkout, planned_files, snakemake
from workflow_scripts.synthetic.model import write_model

pytestmark = [pytest.mark.workflow, pytest.mark.slow]
CONFIG, RESULTS = "config/reruns.yaml", "results/reruns"
PAGE = (ROOT / "docs/reruns.md").read_text(encoding="utf-8")
CODE = "workflow_scripts"


def cells(heading):
    """The rows of the page's table under `heading`, by their first cell."""
    table = PAGE.split(f"| {heading} |")[1].split("\n\n")[0]
    return {row[0]: row[1] for row in re.findall(r"^\| (.+?) \| (.+) \|$", table, re.M) if row[0] != "---"}


CONTRACT, GROUPS = cells("after a change of"), cells("name")


def globs(cell):
    """The globs of a cell, groups spelled out."""
    patterns = []
    for glob, group, system in re.findall(r"`([^`]+)`|\*((?:answers of (\w+))|tables|judgements)\*", cell):
        of_group = GROUPS["*answers of SYSTEM*" if system else f"*{group}*"] if group else ""
        patterns += [glob] if glob else [g.replace("SYSTEM", system) for g in globs(of_group)]
    return patterns


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


def agreed(line, folder, *arguments):
    """Hold the plan in `folder` against a line of the contract."""
    everything, pending = planned_files(folder, RESULTS, "--configfile", CONFIG, *arguments)
    expected = {file for file in everything for glob in globs(CONTRACT[line]) if fnmatch.fnmatchcase(file, glob)}
    assert pending == expected
    assert CONTRACT[line] == "nothing" or expected


SETTINGS = {
    "a recipe value": lambda raw: raw["recipes"]["qlora"].update(learning_rate=1e-3),
    "the prompt of a tuned system": lambda raw: raw["systems"]["tuned"].update(prompt={"system": "Be brief."}),
    "the prompt of a base system": lambda raw: raw["systems"]["base"].update(prompt={"system": "Be brief."}),
    "another checkpoint of a model": lambda raw: raw["models"]["tiny"].update(checkpoint="checkpoints/other"),
    "the image size of a model": lambda raw: raw["models"]["tiny"].update(image={"size": 48}),
    "padded images of a model": lambda raw: raw["models"]["tiny"].update(image={"pad": True}),
    "native boxes of a model": lambda raw: raw["models"]["tiny"].update(boxes="native"),
    "products in 8 bits of a base system": lambda raw: (
        raw["models"]["tiny"].update(gpus=1),
        raw["systems"]["base"].update(fp8=True),
    ),
    "a group to show": lambda raw: raw.update(groups={"columns": ["sex"]}),
    "numbers of others": lambda raw: raw.update(
        published={"theirs": {"source": "a paper", "numbers": [{"task": "counting", "metric": "mae", "value": 1}]}}
    ),
    "a new judge of rubrics, `grader`, with human scores": lambda raw: raw["judges"].update(
        grader={"backend": "recorded", "metric": "rubric", "path": CONFIG, "validity": {"path": CONFIG}}
    ),
    "an entry of explanation maps": lambda raw: raw.update(saliency={"why": {"system": "base"}}),
    "a report caption": lambda raw: raw["report"].update(caption="A better one."),
    "a new system": lambda raw: raw["systems"].update(again={"model": "tiny"}),
    "a new system with shots, `few`": lambda raw: raw["systems"].update(
        few={"model": "tiny", "train": "train", "shots": {"count": 1, "by": "task"}}
    ),
    "a new system with samples, `many`": lambda raw: raw["systems"].update(
        many={"model": "tiny", "samples": {"draws": 3}}
    ),
    "a new sweep `grid`": lambda raw: raw.update(
        sweeps={"grid": {"model": "tiny", "recipe": "qlora", "train": "train", "vary": {"batch": [4, 16]}}}
    ),
    "a removed system": lambda raw: raw["systems"].pop("majority"),
    "the number of shards": lambda raw: raw["inference"].update(shards=4),
    "the folder of the store": lambda raw: raw.update(store="elsewhere"),
    "what `push` uploads": lambda raw: raw.update(publish={"tuned": {"repo": "lab/tuned"}}),
}


@pytest.mark.parametrize("line", SETTINGS)
def test_a_setting_makes_again_what_the_page_says(done, line):
    with restored(done / CONFIG):
        raw = yaml.safe_load((done / CONFIG).read_text())
        SETTINGS[line](raw)
        (done / CONFIG).write_text(yaml.safe_dump(raw, sort_keys=False))
        agreed(line, done)


QUESTIONS, IMAGES = "*/*/*/*.json", "*/*/*/images*/*.png"
LINES = {
    "a line of the conversion": "workflow_scripts/data/conversion/rows.py",
    "a line of the feature step": "workflow_scripts/features/extract.py",
    "a line of the training": "workflow_scripts/train/rows.py",
    "a line of the inference": "workflow_scripts/infer/answer.py",
    "a line of the models' family": "workflow_scripts/models/families/gemma3.py",
    "a line of another family": "workflow_scripts/models/families/qwen3_vl.py",
    "a line of the readers": "workflow_scripts/score/outcomes.py",
    "a line of the parser of rubrics": "workflow_scripts/judges/rubrics/reply.py",
    "a line of the page": "workflow_scripts/report/page.py",
    "a line of the tables": "workflow_scripts/report/tables.py",
    "a line of the figures": "workflow_scripts/report/figures.py",
    "a line of the model card": "workflow_scripts/report/card.py",
    "a line of a task's `answers`": "workflow_scripts/tasks/classification/answers.py",
    "a line of a task's `reading`": "workflow_scripts/tasks/counting/reading.py",
    "a line of a task's `grammar`": "workflow_scripts/tasks/detection/grammar.py",
    "a line of a task's `metrics`": "workflow_scripts/tasks/multi_label/metrics.py",
    "a line of a task's `baselines`": "workflow_scripts/tasks/regression/baselines.py",
}


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


TOUCHED = {
    "a touched source file": lambda done: [*(done / "workflow_scripts").rglob("*.py"), *(done / "rules").iterdir()],
    "a touched question file": lambda done: (done / "local").glob("*/*/*/*/*.json"),
    "a touched image": lambda done: (done / "local").rglob("*.png"),
    "a touched configuration": lambda done: [done / CONFIG],
    "a touched table of rows": lambda done: (done / RESULTS).rglob("rows.parquet"),
    "touched adapter weights": lambda done: (done / RESULTS / "systems").rglob("adapter_model.safetensors"),
}


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


ON_THE_COMMAND_LINE = {
    "a batch size": ("--set-resources", "infer_answer:batch=3"),
    "the number of threads": ("--set-threads", "infer_answer=2", "train_tune=1", "--cores", "4"),
}


def test_throughput_makes_again_nothing(done):
    for line in ON_THE_COMMAND_LINE:
        assert CONTRACT[line] == "nothing"
    agreed(line, done, *(flag for flags in ON_THE_COMMAND_LINE.values() for flag in flags))


CLONES = {
    "a fresh clone, results and `.snakemake` moved in": ["results", ".snakemake/metadata"],
    "a fresh clone, results alone moved in": ["results"],
}


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
