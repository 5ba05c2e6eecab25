"""Each step of the room runs from the command line, end to end; what is wrong is said in one sentence."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from workflow_scripts.core.config.datasets import HubDataset, LocalDataset, Policies, Split, SyntheticDataset

ROOT = Path(__file__).resolve().parents[2]


def step(name: str, *arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"workflow_scripts.data.{name}", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"PYTHONWARNINGS": "error"}
    )


def test_the_steps_lead_from_nothing_to_conversations(tmp_path):
    root, manifest, rows, quarantine = (tmp_path / n for n in ("tree", "manifest.json", "rows.parquet", "q.parquet"))
    training = Split(dataset="made", folder="training").spec()
    protect = json.dumps([Split(dataset="made", folder="validation-public").model_dump(mode="json")])
    said = []
    for name, *arguments in (
        ("made", "--spec", SyntheticDataset(scale=0.05).source_spec(), "--out", root, "--manifest", manifest),
        ("inventory", "--spec", LocalDataset().source_spec(), "--root", root, "--manifest", tmp_path / "again.json"),
        ("convert", "--root", root, "--manifest", manifest, "--policies", Policies().spec(), "--rows", rows)
        + ("--quarantine", quarantine, "--workdir", tmp_path / "work"),
        ("split", "--rows", rows, "--spec", training, "--protect", protect, "--out", tmp_path / "split.parquet")
        + ("--left-out", tmp_path / "left.parquet"),
        ("sft", "--split", tmp_path / "split.parquet", "--root", root, "--out", tmp_path / "sft.jsonl"),
    ):
        result = step(name, *arguments)
        assert result.returncode == 0, result.stderr
        said.append(result.stdout.strip())
    assert [line.split(":")[0] for line in said] == ["made", "inventory", "convert", "split", "sft"]
    assert all("\n" not in line for line in said)
    made, again = (json.loads(path.read_text()) for path in (manifest, tmp_path / "again.json"))
    assert made["files"] == again["files"]
    left_out = pq.read_table(tmp_path / "left.parquet")
    kept = pq.read_table(tmp_path / "split.parquet")
    assert (len(left_out), len(kept)) == (3, len((tmp_path / "sft.jsonl").read_text().splitlines()))


def test_splits_of_another_dataset_are_protected_with_its_rows(tmp_path, made):
    from workflow_scripts.core.tables import ROWS, write_table

    write_table(tmp_path / "rows.parquet", made.rows, ROWS)
    training = Split(dataset="one", folder="training").spec()
    protect = json.dumps([Split(dataset="two", folder="validation-public").model_dump(mode="json")])
    given = ("--rows", tmp_path / "rows.parquet", "--spec", training, "--protect", protect)
    places = ("--out", tmp_path / "split.parquet", "--left-out", tmp_path / "left.parquet")
    refused = step("split", *given, *places)
    assert refused.returncode == 1
    assert "add --protect-rows two=FILE" in refused.stderr
    assert step("split", *given, *places, "--protect-rows", f"two={tmp_path / 'rows.parquet'}").returncode == 0
    assert len(pq.read_table(tmp_path / "left.parquet")) == 3


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("inventory", ("--spec", "{}", "--root", "nowhere", "--manifest", "m.json"), "nowhere is not a folder"),
        (
            "convert",
            ("--root", ".", "--manifest", "m.json", "--rows", "r", "--quarantine", "q", "--workdir", "w"),
            "m.json is missing; run the rule that makes it",
        ),
        (
            "split",
            ("--rows", "r", "--spec", '{"dataset":"a","folder":"training"}', "--out", "o", "--left-out", "l"),
            "r is missing",
        ),
        ("sft", ("--split", "s.parquet", "--root", ".", "--out", "o"), "s.parquet is missing"),
        ("unpack", ("--root", "nowhere"), "nowhere is not a folder"),
    ],
    ids=["inventory", "convert", "split", "sft", "unpack"],
)  # fmt: skip
def test_a_missing_input_is_one_sentence(tmp_path, name, arguments, said):
    command = [sys.executable, "-m", f"workflow_scripts.data.{name}", *arguments]
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert result.returncode == 1
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_without_questions_is_said(tmp_path):
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "notes.txt").write_text("none here")
    assert (
        step("inventory", "--spec", "{}", "--root", tmp_path / "tree", "--manifest", tmp_path / "m.json").returncode
        == 0
    )
    given = ("--rows", tmp_path / "r", "--quarantine", tmp_path / "q", "--workdir", tmp_path / "w")
    result = step("convert", "--root", tmp_path / "tree", "--manifest", tmp_path / "m.json", *given)
    assert result.returncode == 1
    assert "holds no question file; expected {training,validation-public" in result.stderr


def test_policies_do_not_change_where_a_tree_comes_from():
    for kind in (SyntheticDataset, LocalDataset, HubDataset):
        changed = kind(policies=Policies(duplicate="keep"))
        assert changed.source_spec() == kind().source_spec()
        assert changed.spec() != kind().spec()


@pytest.mark.parametrize("pattern", ["(", "CXR[0-9]+"], ids=["no expression", "no group"])
def test_a_pattern_for_cases_is_checked(pattern):
    with pytest.raises(ValueError, match="ds"):
        Policies(cases={"ds": pattern})


def test_no_step_of_the_room_imports_torch():
    names = sorted(path.stem for path in (ROOT / "workflow_scripts" / "data").glob("*.py"))
    imports = "; ".join(f"import workflow_scripts.data.{name}" for name in names)
    code = f"import sys; {imports}; sys.exit('torch' in sys.modules or 'snakemake' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
