"""A model loads whole, quantised where it should be, and nothing stands in for what is missing."""

import shutil

import bitsandbytes
import pytest

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.models import HubModel
from workflow_scripts.core.files import BadFile
from workflow_scripts.models.fetch import fetch
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import write_record


def test_nf4_covers_the_language_model_and_nothing_else(tiny):
    model = load(tiny, quantisation="nf4").model
    quantised = {name for name, module in model.named_modules() if isinstance(module, bitsandbytes.nn.Linear4bit)}
    assert len(quantised) == 2 * 7
    assert all("language_model" in name for name in quantised)


def test_a_missing_adapter_stops_the_job(tiny, tmp_path):
    with pytest.raises(BadFile, match=r"holds no adapter_model\.safetensors"):
        load(tiny, adapter=tmp_path)


def test_a_job_with_a_gpu_that_torch_cannot_use_stops_unless_told_to_use_the_cpu(tiny, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.delenv("FLAREBENCH_DEVICE", raising=False)
    with pytest.raises(Refused, match=r"was given GPU 1, but torch .* sees none"):
        load(tiny)
    monkeypatch.setenv("FLAREBENCH_DEVICE", "cpu")
    assert load(tiny).device.type == "cpu"


def test_a_missing_folder_is_named(tiny, tmp_path):
    moved = tmp_path / "tiny.json"
    moved.write_bytes(tiny.read_bytes())
    with pytest.raises(BadFile, match="which is missing"):
        load(moved)


def test_a_truncated_weight_file_is_one_sentence(tiny, tmp_path):
    folder = tmp_path / "tiny"
    folder.mkdir()
    for file in tiny.with_suffix("").iterdir():
        data = file.read_bytes()
        (folder / file.name).write_bytes(data[: len(data) // 2] if file.suffix == ".safetensors" else data)
    (tmp_path / "tiny.json").write_bytes(tiny.read_bytes())
    with pytest.raises(
        BadFile, match=r"tiny/model\.safetensors was changed since .* delete .*tiny\.json and run again"
    ):
        load(tmp_path / "tiny.json")


def test_weights_that_are_none_are_one_sentence(tiny, tmp_path):
    folder = shutil.copytree(tiny.with_suffix(""), tmp_path / "tiny")
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    write_record(tmp_path / "tiny.json", "tiny", "gemma3", folder, None)
    with pytest.raises(BadFile, match="cannot be loaded as a model"):
        load(tmp_path / "tiny.json")


def test_a_gated_model_without_a_token_is_refused_with_the_page(tmp_path, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    spec = HubModel(family="gemma3", checkpoint="google/medgemma-1.5-4b-it", revision="e" * 40)
    with pytest.raises(Refused, match=r"accept its terms at https://huggingface\.co/google/medgemma-1\.5-4b-it"):
        fetch(spec=spec, record=tmp_path / "medgemma.json")


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    spec = HubModel(family="gemma3", checkpoint=str(tmp_path / "nowhere"), gated=False)
    with pytest.raises(Refused, match="nowhere is neither a directory here nor the name of a repository of the hub"):
        fetch(spec=spec, record=tmp_path / "mine.json")


def test_a_local_checkpoint_is_recorded_as_it_is(tiny, tmp_path):
    spec = HubModel(family="gemma3", checkpoint=str(tiny.with_suffix("")), gated=False)
    fetch(spec=spec, record=tmp_path / "mine.json")
    assert load(tmp_path / "mine.json").model.config.model_type == "gemma3"
