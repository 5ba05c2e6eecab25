"""A job computes with the bytes that its model's record names, or stops; a plan sees what changed."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.models import Checkpoint
from workflow_scripts.core.files import BadFile
from workflow_scripts.models import runtime
from workflow_scripts.models.fetch import fetch
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import (
    adapter_content,
    checkpoint_identity,
    read_record,
    seen_path,
    verify_files,
    write_record,
)
from workflow_scripts.models.runtime import identity_of_runtime


@pytest.fixture
def checkpoint(tiny, tmp_path):
    """A local checkpoint that may be changed."""
    return shutil.copytree(tiny.with_suffix(""), tmp_path / "mine")


@pytest.fixture
def record(checkpoint, tmp_path):
    """Its record, as a run leaves it behind."""
    return take(checkpoint, tmp_path / "models/mine.json")


def take(checkpoint, record):
    """What a plan and its job do; the record."""
    spec = Checkpoint(family="gemma3", checkpoint=str(checkpoint))
    fetch(spec=spec, record=record, content=checkpoint_identity(str(checkpoint), record))
    return record


def flip_keeping_time(file):
    """Change one bit of a file, and nothing that a listing shows."""
    before = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_an_unchanged_checkpoint_is_not_read_again(record, monkeypatch):
    monkeypatch.setattr("workflow_scripts.cache.folders.sha256_of_file", None)
    verify_files(record)
    load(record)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "chat_template.jinja"])
def test_a_file_that_changed_in_place_stops_the_job_with_its_name_and_the_remedy(record, checkpoint, name):
    flip_keeping_time(checkpoint / name)
    with pytest.raises(
        BadFile, match=rf"mine/{name} was changed since .*mine\.json was .*: delete .*mine\.json and run"
    ):
        load(record)


@pytest.mark.parametrize("change", ["added", "removed"])
def test_a_file_that_came_or_went_stops_the_job(record, checkpoint, change):
    if change == "added":
        (checkpoint / "added.json").write_text("{}")
    else:
        (checkpoint / "generation_config.json").unlink()
    with pytest.raises(BadFile, match=f"was {change} since"):
        load(record)


def test_a_checkpoint_that_changes_while_it_is_read_stops_the_job(record, checkpoint, monkeypatch):
    from transformers import AutoProcessor

    read = AutoProcessor.from_pretrained

    def changing(*arguments, **options):
        flip_keeping_time(checkpoint / "model.safetensors")
        return read(*arguments, **options)

    monkeypatch.setattr(AutoProcessor, "from_pretrained", changing)
    with pytest.raises(BadFile, match=r"model\.safetensors was changed since"):
        load(record)


def test_a_touched_or_moved_checkpoint_is_read_once_and_used(record, checkpoint, monkeypatch):
    for file in checkpoint.iterdir():
        os.utime(file, (1, 1))
    verify_files(record)
    monkeypatch.setattr("workflow_scripts.cache.folders.sha256_of_file", None)
    verify_files(record)


def test_without_a_note_of_times_every_byte_is_checked(record, checkpoint):
    seen_path(record).unlink()
    verify_files(record)
    assert seen_path(record).exists()
    flip_keeping_time(checkpoint / "config.json")
    seen_path(record).unlink()
    with pytest.raises(BadFile, match=r"config\.json was changed"):
        verify_files(record)


def test_a_plan_names_the_same_state_until_bytes_change_and_again_when_they_are_put_back(record, checkpoint):
    before = checkpoint_identity(str(checkpoint), record)
    assert before == json.loads(seen_path(record).read_text())["identity"]
    os.utime(checkpoint / "config.json", (1, 1))
    assert checkpoint_identity(str(checkpoint), record) == before
    (checkpoint / "notes.log").write_text("not a file that a loader reads")
    assert checkpoint_identity(str(checkpoint), record) == before
    flip_keeping_time(checkpoint / "model.safetensors")
    changed = checkpoint_identity(str(checkpoint), record)
    assert changed != before
    flip_keeping_time(checkpoint / "model.safetensors")
    assert checkpoint_identity(str(checkpoint), record) == before
    flip_keeping_time(checkpoint / "model.safetensors")
    take(checkpoint, record)
    assert checkpoint_identity(str(checkpoint), record) == changed
    assert checkpoint_identity("google/medgemma-1.5-4b-it", record) == ""


def test_a_sharded_checkpoint_has_a_revision_of_all_its_files(checkpoint, tmp_path):
    weights = load_file(checkpoint / "model.safetensors")
    names = sorted(weights)
    parts = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
    for file, part in parts.items():
        save_file({name: weights[name] for name in part}, checkpoint / file, metadata={"format": "pt"})
    (checkpoint / "model.safetensors").unlink()
    places = {name: file for file, part in parts.items() for name in part}
    (checkpoint / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    first = read_record(take(checkpoint, tmp_path / "a.json"))[0]
    assert len(first.revision) == 40 and set(parts) <= first.files.keys()
    torch.testing.assert_close(
        load(tmp_path / "a.json").model.state_dict()["lm_head.weight"],
        load(take(checkpoint, tmp_path / "again.json")).model.state_dict()["lm_head.weight"],
    )
    (checkpoint / "chat_template.jinja").write_text("another")
    assert read_record(take(checkpoint, tmp_path / "b.json"))[0].revision != first.revision
    (checkpoint / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(Refused, match=r"mine lacks model-00002-of-00002\.safetensors of its weights: copy or download"):
        take(checkpoint, tmp_path / "c.json")
    (checkpoint / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(BadFile, match=r"index\.json is not an index of weights; copy or download the checkpoint whole"):
        take(checkpoint, tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()


def test_pickles_alone_are_refused_with_the_way_to_convert_them(checkpoint, tmp_path):
    (checkpoint / "model.safetensors").rename(checkpoint / "pytorch_model.bin")
    with pytest.raises(Refused, match=r"pickles alone \(pytorch_model\.bin\).*save_pretrained.*give the new folder"):
        take(checkpoint, tmp_path / "a.json")
    (checkpoint / "pytorch_model.bin").unlink()
    with pytest.raises(Refused, match=r"mine holds no weights \(\*\.safetensors\)"):
        take(checkpoint, tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_a_hub_checkpoint_of_pickles_is_refused_with_the_way_to_convert_it(tmp_path, monkeypatch):
    (tmp_path / "snapshot").mkdir()
    (tmp_path / "snapshot/config.json").write_text("{}")
    monkeypatch.setattr("workflow_scripts.models.fetch.snapshot_download", lambda *_, **__: str(tmp_path / "snapshot"))
    spec = Checkpoint(family="gemma3", checkpoint="some/model", revision="e" * 40)
    with pytest.raises(
        Refused, match=r"some/model at e{40} has no safetensors weights.*convert them .*name that commit"
    ):
        fetch(spec=spec, record=tmp_path / "a.json")


def test_a_record_says_what_others_call_the_model_and_that_is_no_part_of_what_it_is(checkpoint, tmp_path):
    record = take(checkpoint, tmp_path / "models/mine.json")
    ours = read_record(record)[0]
    theirs = write_record(tmp_path / "b.json", "b", "gemma3", checkpoint, ours.revision, checkpoint="org/model")
    assert (ours.public_name, theirs.public_name) == ("mine", "org/model")
    assert ours.content == theirs.content
    before = json.loads(record.read_text())
    del before["checkpoint"]  # as records were before
    record.write_text(json.dumps(before))
    assert read_record(record)[0] == ours


def test_hidden_files_and_files_that_no_loader_reads_are_no_part_of_a_model(checkpoint, tmp_path):
    before = read_record(take(checkpoint, tmp_path / "a.json"))[0]
    (checkpoint / ".cache").mkdir()
    (checkpoint / ".cache/x.json").write_text("{}")
    (checkpoint / "README.md").write_text("words")
    (checkpoint / "optimizer.pt").write_text("state")
    assert read_record(take(checkpoint, tmp_path / "b.json"))[0].files == before.files


def test_an_adapter_is_its_weights_and_settings_wherever_its_base_lies(tmp_path):
    for name, settings in {
        "a": {"r": 4, "target_modules": ["x", "y"], "base_model_name_or_path": "/a"},
        "b": {"target_modules": ["y", "x"], "r": 4, "base_model_name_or_path": "/b", "revision": "e" * 40},
        "c": {"r": 4, "lora_alpha": 8, "target_modules": ["x", "y"]},
    }.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "adapter_model.safetensors").write_bytes(b"weights")
        (tmp_path / name / "adapter_config.json").write_text(json.dumps(settings))
    assert adapter_content(tmp_path / "a") == adapter_content(tmp_path / "b") != adapter_content(tmp_path / "c")
    (tmp_path / "b/adapter_model.safetensors").write_bytes(b"others")
    assert adapter_content(tmp_path / "a") != adapter_content(tmp_path / "b")
    with pytest.raises(BadFile, match=r"nowhere holds no adapter_model\.safetensors"):
        adapter_content(tmp_path / "nowhere")


def test_a_runtime_is_told_apart_by_device_dtype_kernels_and_libraries(tiny, monkeypatch):
    folder = tiny.with_suffix("")
    monkeypatch.setenv("FLAREBENCH_DEVICE", "cpu")
    cpu = identity_of_runtime(folder)
    assert cpu["device"].startswith("cpu ") and cpu["dtype"] == "float32" and cpu["kernels"] == "the model's own layers"
    assert {"torch", "transformers", "pillow", "kornia-rs"} <= cpu["libraries"].keys()
    assert cpu["libraries"]["kornia-rs"] is not None
    assert {"trl", "bitsandbytes"} <= identity_of_runtime(folder, training=True)["libraries"].keys()
    monkeypatch.setattr(runtime, "best_device", lambda: torch.device("cuda", 0))
    seen = []
    for capability in ((8, 0), (9, 0)):
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device, capability=capability: capability)
        seen.append(identity_of_runtime(folder))
    assert [gpu["device"] for gpu in seen] == ["cuda 8.0", "cuda 9.0"]
    assert seen[0]["dtype"] == "bfloat16" and "one pass for heads" in seen[0]["kernels"]
    assert "one pass for heads" not in identity_of_runtime(folder, training=True)["kernels"]


def test_the_kernels_of_a_key_are_those_that_a_job_prints(tiny):
    from workflow_scripts.models.kernels import speed_up_inference

    loaded = load(tiny)
    assert speed_up_inference(loaded.model) == identity_of_runtime(tiny.with_suffix(""))["kernels"]


def test_a_record_of_the_same_files_is_the_same_text_at_any_time(checkpoint, tmp_path):
    texts = []
    for place in ("a", "b"):
        write_record(tmp_path / place / "mine.json", "mine", "gemma3", checkpoint, None)
        texts.append((tmp_path / place / "mine.json").read_text())
        os.utime(checkpoint / "config.json", (1, 1))
    assert texts[0] == texts[1]
