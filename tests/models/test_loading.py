"""A model loads whole, quantised where it should be, and nothing stands in for what is missing."""

import shutil

import bitsandbytes
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.datasets import HubDataset
from workflow_scripts.core.config.models import Checkpoint
from workflow_scripts.core.files import BadFile
from workflow_scripts.data.downloading.hub import DownloadFailed, plan_download
from workflow_scripts.models import fetch as module
from workflow_scripts.models.fetch import fetch
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import read_record, write_record


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


MEDGEMMA = Checkpoint(family="gemma3", checkpoint="google/medgemma-1.5-4b-it", revision="e" * 40, gated=True)


@pytest.fixture
def logged_out(tmp_path, monkeypatch):
    """No token of the hub, in the environment or stored, and an empty cache."""
    monkeypatch.delenv("HF_TOKEN", raising=False)
    for name in ("HF_TOKEN_PATH", "HF_STORED_TOKENS_PATH", "HF_HUB_CACHE"):
        monkeypatch.setattr(constants, name, str(tmp_path / name))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def test_a_gated_model_without_a_token_is_refused_with_the_page(logged_out, tmp_path):
    with pytest.raises(
        Refused,
        match=r"is gated and HF_TOKEN is not set: accept its terms at https://huggingface\.co/google/medgemma-1\.5-4b-it"
        r", then export HF_TOKEN or run `hf auth login`",
    ):
        fetch(spec=MEDGEMMA, record=tmp_path / "medgemma.json")


@pytest.mark.parametrize("place", ["the environment", "what `hf auth login` stored"])
def test_a_token_is_as_good_from_a_login_as_from_the_environment(place, logged_out, tiny, tmp_path, monkeypatch):
    if place == "the environment":
        monkeypatch.setenv("HF_TOKEN", "hf_token")
    else:
        (tmp_path / "HF_TOKEN_PATH").write_text("hf_token\n")
    monkeypatch.setattr(module, "snapshot_download", lambda *_, **__: str(tiny.with_suffix("")))
    fetch(spec=MEDGEMMA, record=tmp_path / "medgemma.json")
    record, _ = read_record(tmp_path / "medgemma.json")
    assert (record.checkpoint, record.revision) == (MEDGEMMA.checkpoint, MEDGEMMA.revision)


def test_without_a_connection_the_remedy_names_the_variable_that_says_so(logged_out, tmp_path, monkeypatch):
    """The cache is asked, token or not; what it lacks is to be downloaded by a run that may."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        Refused, match=r"is not in the hub's cache here, and HF_HUB_OFFLINE is set: unset it"
    ) as refusal:
        fetch(spec=MEDGEMMA, record=tmp_path / "medgemma.json")
    assert "network" not in str(refusal.value)


def test_a_dataset_that_is_to_be_downloaded_without_a_connection_is_told_the_same(logged_out, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadFailed, match="is to be downloaded, and HF_HUB_OFFLINE is set: unset it") as refusal:
        plan_download(HubDataset(revision="e" * 40))
    assert "network" not in str(refusal.value)


def test_a_hub_that_cannot_be_reached_is_one_sentence_with_that_remedy(logged_out, tmp_path, monkeypatch):
    def unreachable(*_, **__):
        raise LocalEntryNotFoundError("Got: ConnectError\nPlease check your internet connection.")

    monkeypatch.setattr(module, "snapshot_download", unreachable)
    spec = MEDGEMMA.model_copy(update={"gated": False})
    with pytest.raises(
        Refused, match=r"could not be downloaded: Got: ConnectError Please .*; check the network and run"
    ):
        fetch(spec=spec, record=tmp_path / "medgemma.json")


def test_a_token_with_a_typographic_dash_is_named_by_the_character_and_not_shown(logged_out, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret–part")
    with pytest.raises(Refused, match="holds '–', which no token does: copy it again") as refusal:
        fetch(spec=MEDGEMMA, record=tmp_path / "medgemma.json")
    assert "secret" not in str(refusal.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    spec = Checkpoint(family="gemma3", checkpoint=str(tmp_path / "nowhere"))
    with pytest.raises(Refused, match="nowhere is neither a directory here nor the name of a repository of the hub"):
        fetch(spec=spec, record=tmp_path / "mine.json")


def test_a_local_checkpoint_is_recorded_as_it_is(tiny, tmp_path):
    spec = Checkpoint(family="gemma3", checkpoint=str(tiny.with_suffix("")))
    fetch(spec=spec, record=tmp_path / "mine.json")
    assert load(tmp_path / "mine.json").model.config.model_type == "gemma3"
