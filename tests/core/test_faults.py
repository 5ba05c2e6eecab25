"""A full disk, a read-only folder and damaged files: one sentence each, and nothing is overwritten."""

import json
import os
import shutil
import subprocess

import pytest

from tests.workflow import step_server
from workflow_scripts.core.rows import Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows


@pytest.fixture
def mounted(tmp_path):
    """Mount a small memory disk below the test's folder; root alone may."""
    mounts = []

    def mount(name, size="64k"):
        place = tmp_path / name
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("there is no mount command")
        if done.returncode:
            pytest.skip(f"no memory disk can be mounted: {done.stderr.strip()}")
        mounts.append(place)
        return place

    yield mount
    for place in mounts:
        subprocess.run(["umount", str(place)], check=True)


def step(module, *arguments):
    """Run a step; the sentence that it ends with, checked to be one."""
    command = [step_server.python(), "-m", f"workflow_scripts.{module}", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (sentence,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    return sentence


def gather(split, shard, out):
    return step("infer.gather", "--split", split, "--shards", shard, "--system", "base", "--out", out)


@pytest.fixture
def answers(split, tmp_path):
    """A shard that answers every row of the split, and large enough to fill a small disk."""
    rows = [Prediction(row.uid, "base", os.urandom(40_000).hex(), "stop") for row in read_rows(split, Row)]
    write_rows(tmp_path / "shards/1-of-1.parquet", rows, Prediction)
    return tmp_path / "shards/1-of-1.parquet"


def test_a_full_disk_is_one_sentence_and_the_old_table_stays(split, answers, mounted):
    out = mounted("full") / "base.parquet"
    out.write_text("old")
    assert "no space is left on the disk; free some and run again" in gather(split, answers, out)
    assert out.read_text() == "old"
    assert [file.name for file in out.parent.iterdir()] == ["base.parquet"]


def test_a_read_only_folder_is_one_sentence_and_the_old_table_stays(split, answers, mounted):
    out = mounted("results", "1m") / "base.parquet"
    out.write_text("old")
    subprocess.run(["mount", "-o", "remount,ro", str(out.parent)], check=True)
    assert "Read-only file system; check its owner and mount" in gather(split, answers, out)
    assert out.read_text() == "old"


def test_a_corrupt_table_is_one_sentence_that_names_it(split, answers, tmp_path):
    answers.write_bytes(answers.read_bytes()[:500])
    out = tmp_path / "base.parquet"
    sentence = gather(split, answers, out)
    assert f"{answers} is not a readable Parquet file" in sentence and sentence.endswith("delete it and run again")
    assert not out.exists()


def extract(split, root, record, index, store):
    options = ["--batch", 2, "--threads", 1, "--store", store]
    return step("features.extract", "--split", split, "--root", root, "--model", record, "--index", index, *options)


@pytest.mark.slow
def test_features_on_a_full_disk_are_one_sentence_and_leave_no_half_shard(split, root, tiny, mounted, tmp_path):
    store = mounted("store")
    (store / "others").write_bytes(bytes(40_000))
    assert "no space is left on the disk" in extract(split, root, tiny, tmp_path / "index.parquet", store)
    assert [file.name for file in store.rglob("*") if file.is_file()] == ["others"]
    assert not (tmp_path / "index.parquet").exists()


@pytest.fixture
def arguments(split, root, tiny, features, tmp_path):
    """The inference's arguments, on a copy of the model that may be damaged."""
    shutil.copytree(tiny.with_suffix(""), tmp_path / "models" / tiny.stem)
    record = shutil.copyfile(tiny, tmp_path / "models" / tiny.name)
    limits = ["--max-new-tokens", "counting", 4]
    files = ["--split", split, "--root", root, "--model", record, "--features", features]
    return [*files, *limits, "--shard", "1-of-1", "--batch", 4, "--threads", 1, "--store", tmp_path / "store"]


@pytest.mark.slow
def test_truncated_model_weights_are_one_sentence(arguments, tiny, tmp_path):
    from workflow_scripts.models.record import write_record

    weights = tmp_path / "models" / tiny.stem / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    out = tmp_path / "base.parquet"
    sentence = step("infer.answer", *arguments, "--members", '{"system": "base"}', "--out", out)
    assert f"{weights} was changed since" in sentence and "delete" in sentence
    write_record(weights.parents[1] / tiny.name, tiny.stem, "gemma3", weights.parent, None)
    sentence = step("infer.answer", *arguments, "--members", '{"system": "base"}', "--out", out)
    assert "cannot be loaded as a model" in sentence and "delete" in sentence
    assert not out.exists()


@pytest.mark.slow
def test_truncated_adapter_weights_are_one_sentence(arguments, tmp_path):
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    config = {"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"], "task_type": "CAUSAL_LM"}
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    (adapter / "adapter_model.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00{")
    out = tmp_path / "base.parquet"
    member = json.dumps({"system": "tuned", "adapter": str(adapter)})
    sentence = step("infer.answer", *arguments, "--members", member, "--out", out)
    assert f"{adapter} cannot be loaded as an adapter" in sentence and sentence.endswith("delete it and run again")
    assert not out.exists()
