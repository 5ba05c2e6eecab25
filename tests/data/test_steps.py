"""Each step of the data stage runs from the command line, end to end; what is wrong is said in one sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.data.roots import converted, png, row, write_converted, write_subset
from tests.workflow import step_server
from workflow_scripts.core.config.datasets import HubDataset, LocalDataset, Split, SyntheticDataset
from workflow_scripts.core.config.sources.entry import Policies
from workflow_scripts.core.manifest import take_inventory

ROOT = Path(__file__).resolve().parents[2]


def step(name: str, *arguments: object) -> subprocess.CompletedProcess:
    package = "synthetic" if name == "dataset" else "data"
    command = [sys.executable, "-m", f"workflow_scripts.{package}.{name}", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "error"}
    )


def test_the_steps_lead_from_nothing_to_conversations(tmp_path):
    names = ("root", "manifest.json", "rows.parquet", "q.parquet", "i.parquet", "c.parquet")
    root, manifest, rows, quarantine, images, conventions = (tmp_path / name for name in names)
    training = Split(dataset="toy", folder="training").spec()
    protect = json.dumps([Split(dataset="toy", folder="validation-public").model_dump(mode="json")])
    summaries = []
    for name, *arguments in (
        ("dataset", "--spec", SyntheticDataset(scale=0.05).source_spec(), "--out", root, "--manifest", manifest),
        ("inventory", "--spec", LocalDataset().source_spec(), "--root", root, "--manifest", tmp_path / "again.json"),
        ("convert", "--root", root, "--manifest", manifest, "--policies", Policies().spec(), "--rows", rows)
        + ("--quarantine", quarantine, "--images", images, "--conventions", conventions)
        + ("--workdir", tmp_path / "work"),
        ("audit", "--rows", rows, "--quarantine", quarantine, "--images", images, "--root", root)
        + ("--conventions", conventions)
        + (
            "--findings",
            tmp_path / "f",
            "--summary",
            tmp_path / "s",
            "--balance",
            tmp_path / "b",
            "--page",
            tmp_path / "p",
        ),
        ("split", "--rows", rows, "--images", images, "--spec", training, "--protect", protect)
        + ("--out", tmp_path / "split.parquet", "--left-out", tmp_path / "left.parquet"),
        ("sft", "--split", tmp_path / "split.parquet", "--root", root, "--out", tmp_path / "sft.jsonl"),
    ):
        result = step(name, *arguments)
        assert result.returncode == 0, result.stderr
        summaries.append(result.stdout.strip())
    assert [line.split(":")[0] for line in summaries] == ["dataset", "inventory", "convert", "audit", "split", "sft"]
    assert all("\n" not in line for line in summaries)
    drawn, again = (json.loads(path.read_text()) for path in (manifest, tmp_path / "again.json"))
    assert drawn["files"] == again["files"]
    left_out = pq.read_table(tmp_path / "left.parquet")
    selected = pq.read_table(tmp_path / "split.parquet")
    assert (len(left_out), len(selected)) == (3, len((tmp_path / "sft.jsonl").read_text().splitlines()))


def test_splits_of_another_dataset_are_protected_with_its_rows(tmp_path, toy):
    write_converted(toy, tmp_path)
    training = Split(dataset="one", folder="training").spec()
    protect = json.dumps([Split(dataset="two", folder="validation-public").model_dump(mode="json")])
    images = ("--images", tmp_path / "images.parquet")
    given = ("--rows", tmp_path / "rows.parquet", *images, "--spec", training, "--protect", protect)
    places = ("--out", tmp_path / "split.parquet", "--left-out", tmp_path / "left.parquet")
    refused = step("split", *given, *places)
    assert refused.returncode == 1
    assert "add --protect-rows two=FILE" in refused.stderr
    assert step("split", *given, *places, "--protect-rows", f"two={tmp_path / 'rows.parquet'}").returncode == 0
    assert len(pq.read_table(tmp_path / "left.parquet")) == 3


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("inventory", ("--spec", "{}", "--root", "nowhere", "--manifest", "m.json"), "nowhere is not a directory"),
        (
            "convert",
            ("--root", ".", "--manifest", "m.json", "--rows", "r", "--quarantine", "q", "--images", "i")
            + ("--conventions", "c", "--workdir", "w", "--policies", "{}"),
            "m.json is missing; run the rule that makes it",
        ),
        (
            "split",
            ("--rows", "r", "--images", "i", "--spec", '{"dataset":"a","folder":"training"}', "--out", "o")
            + ("--left-out", "l"),
            "r is missing",
        ),
        ("sft", ("--split", "s.parquet", "--root", ".", "--out", "o"), "s.parquet is missing"),
    ],
    ids=["inventory", "convert", "split", "sft"],
)  # fmt: skip
def test_a_missing_input_is_one_sentence(tmp_path, name, arguments, said):
    command = [step_server.python(), "-m", f"workflow_scripts.data.{name}", *arguments]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 1
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_without_questions_is_said(tmp_path):
    subset = tmp_path / "root" / "training" / "Xray" / "ds"
    subset.mkdir(parents=True)
    (subset / "notes.txt").write_text("none here")
    inventory = ("inventory", "--spec", "{}", "--root", tmp_path / "root", "--manifest", tmp_path / "m.json")
    assert "holds no image, zip or question file below {training" in step(*inventory).stderr
    (subset / "0.png").write_bytes(png(0))
    assert step(*inventory).returncode == 0
    given = ("--rows", tmp_path / "r", "--quarantine", tmp_path / "q", "--conventions", tmp_path / "c")
    given = (*given, "--images", tmp_path / "i", "--policies", "{}", "--workdir", tmp_path / "w")
    result = step("convert", "--root", tmp_path / "root", "--manifest", tmp_path / "m.json", *given)
    assert result.returncode == 1
    assert "holds no question file; expected {training,validation-public" in result.stderr


def test_a_name_that_is_not_utf8_is_said(tmp_path):
    subset = tmp_path / "root" / "training" / "Xray" / "ds"
    name = os.fsencode(subset) + b"/caf\xe9.png"
    subset.mkdir(parents=True)
    try:
        os.close(os.open(name, os.O_CREAT))
    except OSError:
        pytest.skip("this file system takes no such name")
    result = step("inventory", "--spec", "{}", "--root", tmp_path / "root", "--manifest", tmp_path / "m.json")
    assert result.returncode == 1
    assert "the name of 'Xray/ds/caf\\udce9.png' is not valid UTF-8; rename it" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_linked_folders_are_part_of_a_dataset_and_circles_end(tmp_path):
    subset = tmp_path / "root" / "training" / "Xray" / "ds"
    for folder in (subset, tmp_path / "disk" / "images"):
        folder.mkdir(parents=True)
    (tmp_path / "disk" / "images" / "0.png").write_bytes(png(0))
    (tmp_path / "disk" / "images" / "back").symlink_to(tmp_path / "disk")
    (subset / "imagesTr").symlink_to(tmp_path / "disk" / "images")
    (subset / "again").symlink_to(tmp_path / "disk" / "images")
    (subset / "circle").symlink_to(tmp_path / "root")
    (subset / "nowhere").symlink_to(tmp_path / "missing")
    files = [
        entry["path"].removeprefix("training/Xray/ds/") for entry in take_inventory(tmp_path / "root", {})["files"]
    ]
    assert files == ["again/0.png", "imagesTr/0.png"]
    write_subset(tmp_path / "root", [row("imagesTr/0.png")], {})
    assert [each.images[0].path for each in converted(tmp_path / "root", tmp_path).rows] == [
        "training/Xray/ds/imagesTr/0.png"
    ]


def test_policies_do_not_change_where_a_dataset_comes_from():
    for kind in (SyntheticDataset, LocalDataset, HubDataset):
        changed = kind(policies=Policies(duplicate="keep"))
        assert changed.source_spec() == kind().source_spec()
        assert changed.spec() != kind().spec()


@pytest.mark.parametrize("pattern", ["(", "CXR[0-9]+"], ids=["no expression", "no group"])
def test_a_pattern_for_cases_is_checked(pattern):
    with pytest.raises(ValueError, match="ds"):
        Policies(cases={"ds": pattern})


def test_no_step_of_the_data_stage_imports_torch():
    names = sorted(path.stem for path in (ROOT / "workflow_scripts" / "data").glob("*.py"))
    imports = "; ".join(f"import workflow_scripts.data.{name}" for name in names)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules or 'snakemake' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
