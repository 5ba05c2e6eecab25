"""What a run lacks is said in one sentence before its first job, with the commands that help."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from workflow_scripts import ROOT
from workflow_scripts.cli.needs import Gated, slower_without, unmet_needs
from workflow_scripts.core.config.workflow import load_configuration

EVERY = {"train_tune", "infer_answer", "infer_ask", "score_judge", "score_reports"}
REVISION = "e" * 40


def configuration(tmp_path, **sections):
    """The default configuration with other sections."""
    raw = yaml.safe_load((ROOT / "config/config.yaml").read_text()) | sections
    (tmp_path / "nltk").mkdir(exist_ok=True)
    (tmp_path / "replies.jsonl").touch()
    return load_configuration(raw, "my.yaml")


@pytest.fixture
def without(monkeypatch):
    """A function that lets packages look as if they were not installed."""
    find = importlib.util.find_spec

    def hide(*names):
        monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name in names else find(name, *a))

    return hide


@pytest.fixture
def no_token(monkeypatch):
    """No token of the hub, in the environment or stored."""
    import huggingface_hub

    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)


def judges(tmp_path):
    server = {"backend": "openai", "url": "http://127.0.0.1:9/v1", "model": "m", "revision": "1"}
    return {
        "rules": {"backend": "rule_based"},
        "panel": {"backend": "recorded", "metric": "crimson", "path": str(tmp_path / "replies.jsonl")},
        "crimson": {**server, "metric": "crimson", "token_variable": "JUDGE_TOKEN"},
        "green": {"backend": "transformers", "metric": "green", "checkpoint": "a/b", "revision": REVISION},
    }


def test_the_default_lacks_nothing(tmp_path):
    assert unmet_needs(configuration(tmp_path), [], EVERY) is None


def test_everything_that_is_missing_is_one_sentence_with_each_command_once(tmp_path, without, monkeypatch):
    without("CRIMSON", "radeval", "tensorboard", "bitsandbytes")
    monkeypatch.delenv("JUDGE_TOKEN", raising=False)
    settings = configuration(
        tmp_path, judges=judges(tmp_path), tracking="tensorboard", scoring={"nltk_data": str(tmp_path / "nltk")}
    )
    assert unmet_needs(settings, [], EVERY) == (
        "tracking needs tensorboard, which is not installed; recipes.qlora needs bitsandbytes, which is not installed; "
        "judges.crimson needs the package CRIMSON, which is not installed; judges.crimson needs the token in "
        "JUDGE_TOKEN, which is not set; judges.green needs the package radeval, which is not installed; "
        f"scoring.nltk_data needs WordNet, which {tmp_path}/nltk does not hold; remedies: "
        f"`pip install tensorboard`, `pip install -r {ROOT}/envs/requirements.txt`, "
        f"`pip install --no-deps -r {ROOT}/envs/requirements-judges.txt`, `export JUDGE_TOKEN=…`, "
        f"`python -m nltk.downloader -d {tmp_path}/nltk wordnet`"
    )


def test_what_no_planned_job_needs_is_not_asked_for(tmp_path, without, monkeypatch):
    without("CRIMSON", "radeval", "tensorboard")
    settings = configuration(tmp_path, judges=judges(tmp_path), tracking="tensorboard")
    assert unmet_needs(settings, [], {"data_convert", "score_metrics"}) is None
    assert "tensorboard" in unmet_needs(settings, [], {"train_tune"})
    assert "tensorboard" not in unmet_needs(settings, [], {"score_judge"})


def test_judges_that_ask_no_model_need_no_package(tmp_path, without):
    without("CRIMSON", "radeval")
    quiet = {name: judge for name, judge in judges(tmp_path).items() if name in ("rules", "panel")}
    assert unmet_needs(configuration(tmp_path, judges=quiet), [], EVERY) is None


@pytest.mark.parametrize("corpus", ["wordnet.zip", "wordnet"])
def test_wordnet_counts_zipped_and_unpacked(tmp_path, corpus):
    settings = configuration(tmp_path, scoring={"nltk_data": str(tmp_path / "nltk")})
    assert "needs WordNet" in unmet_needs(settings, [], EVERY)
    place = tmp_path / "nltk/corpora" / corpus
    place.parent.mkdir()
    place.touch() if place.suffix else place.mkdir()
    assert unmet_needs(settings, [], EVERY) is None


def test_the_token_of_an_engine_is_asked_for_where_a_system_uses_it(tmp_path, monkeypatch):
    monkeypatch.delenv("LAB_TOKEN", raising=False)
    engines = {"lab": {"url": "http://127.0.0.1:9/v1", "token_variable": "LAB_TOKEN"}}
    here, there = {"model": "tiny"}, {"model": "tiny", "engine": "lab", "served_as": "base"}
    assert unmet_needs(configuration(tmp_path, engines=engines, systems={"base": here}), [], EVERY) is None
    settings = configuration(tmp_path, engines=engines, systems={"base": there})
    assert "engines.lab needs the token in LAB_TOKEN" in unmet_needs(settings, [], EVERY)
    monkeypatch.setenv("LAB_TOKEN", "secret")
    assert unmet_needs(settings, [], EVERY) is None


def gated(tmp_path):
    return [Gated("a/b", "https://hub/a/b", str(tmp_path / "b.json")), Gated("a/c", "https://hub/a/c", "/nowhere")]


def test_gated_repositories_need_a_token_once_for_all_that_are_not_here(tmp_path, no_token):
    settings = configuration(tmp_path)
    (tmp_path / "b.json").touch()
    assert unmet_needs(settings, gated(tmp_path), EVERY) == (
        "a/c is gated and HF_TOKEN is not set: accept its terms at https://hub/a/c; remedies: `export HF_TOKEN=…` or "
        "`hf auth login`"
    )
    (tmp_path / "b.json").unlink()
    assert unmet_needs(settings, gated(tmp_path), EVERY).startswith(
        "a/b is gated and HF_TOKEN is not set: accept its terms at https://hub/a/b; a/c is gated and HF_TOKEN is not"
    )


def test_a_stored_token_or_the_cache_of_a_machine_without_internet_will_do(tmp_path, no_token, monkeypatch):
    import huggingface_hub

    settings = configuration(tmp_path)
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: "hf_stored")
    assert unmet_needs(settings, gated(tmp_path), EVERY) is None
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert unmet_needs(settings, gated(tmp_path), EVERY) is None


def test_a_gpu_without_faster_kernels_is_a_remark(tmp_path, without, monkeypatch):
    without("liger_kernel")
    monkeypatch.delenv("FLAREBENCH_DEVICE", raising=False)
    on_gpu = configuration(tmp_path, models={"tiny": {"source": "synthetic", "gpus": 1}})
    assert "pip install -r " in slower_without(on_gpu, EVERY)
    assert slower_without(on_gpu, {"score_metrics"}) is None
    assert slower_without(configuration(tmp_path), EVERY) is None
    monkeypatch.setenv("FLAREBENCH_DEVICE", "cpu")
    assert slower_without(on_gpu, EVERY) is None


def test_every_file_that_a_remedy_names_is_there():
    for name in ("requirements.txt", "requirements-gpu.txt", "requirements-judges.txt"):
        assert (Path(ROOT) / "envs" / name).is_file()
