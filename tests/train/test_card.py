"""The cards are the hub's: its own classes read them, the metrics stand in `model-index`, licences where known."""

import json

import pytest
from huggingface_hub import ModelCard, ModelCardData

from tests.report.rows import metric
from workflow_scripts.core.config.recipes import Recipe
from workflow_scripts.core.files import BadFile, write_json
from workflow_scripts.core.rows import MetricValue
from workflow_scripts.core.tables import write_rows
from workflow_scripts.models.record import ModelRecord
from workflow_scripts.report.card import write_card as write_scored_card
from workflow_scripts.train.card import write_card

COMMIT = "c" * 40


def record(checkpoint="google/medgemma-1.5-4b-it") -> ModelRecord:
    return ModelRecord(name="m", family="gemma3", folder="m", revision=COMMIT, files={}, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("checkpoint", "licence", "name"),
    [
        ("google/medgemma-1.5-4b-it", "other", "health-ai-developer-foundations"),
        ("google/paligemma2-3b-pt-448", "gemma", None),
        ("lab/unknown", None, None),
        (None, None, None),
    ],
)
def test_the_card_of_training_is_read_by_the_hubs_classes(tmp_path, checkpoint, licence, name):
    write_card(tmp_path / "README.md", Recipe(), record(checkpoint), "d" * 64, 8, [{"loss": 0.5, "step": 7}])
    card = ModelCard((tmp_path / "README.md").read_text())
    assert isinstance(card.data, ModelCardData) and card.data.library_name == "peft"
    assert card.data.base_model == (checkpoint or "m") and card.data["base_model_relation"] == "adapter"
    assert card.data.pipeline_tag == "image-text-to-text" and {"lora", "medical"} <= set(card.data.tags)
    assert (card.data.license, card.data.license_name) == (licence, name)
    assert "0.5000 after 7 steps" in card.text and card.data.eval_results is None


CONFIGURATION = {
    "datasets": {"flare": {"source": "hub", "repo": "FLARE-MedFM/FLARE-MLLM-2D"}, "toy": {"source": "synthetic"}},
    "splits": {"train": {"dataset": "flare"}, "validation": {"dataset": "flare"}, "toys": {"dataset": "toy"}},
    "systems": {"base": {"model": "m"}, "tuned": {"model": "m", "recipe": "qlora", "train": "train"}},
}


@pytest.fixture
def results(tmp_path):
    """A results folder with an adapter's card and the metrics of two splits."""
    write_card(tmp_path / "systems/tuned/adapter/README.md", Recipe(), record(), "d" * 64, 8, [])
    write_json(tmp_path / "configuration.json", CONFIGURATION)
    write_json(tmp_path / "data/flare/manifest.json", {"source": {"revision": COMMIT}, "files": []})
    values = [
        metric("tuned", value=1.23456789),
        metric("tuned", "cells", value=9.0),
        metric("tuned", primary=False, metric="rmse"),
        metric("tuned", task="report", metric="crimson", judge="lab", direction="higher", value=-0.5, low=None),
        metric("tuned", task="detection", value=None),
        metric("base", value=7.0),
        metric("majority", value=8.0),
    ]
    write_rows(tmp_path / "scores/validation/metrics.parquet", values, MetricValue)
    write_rows(tmp_path / "scores/toys/metrics.parquet", [metric("tuned", value=3.0)], MetricValue)
    return tmp_path


def scored(results):
    out = results / "systems/tuned/card/README.md"
    splits = ["validation", "toys"]
    tables = [results / f"scores/{split}/metrics.parquet" for split in splits]
    write_scored_card(system="tuned", splits=splits, metrics=tables, results=results, out=out, bases=["base"])
    return ModelCard(out.read_text())


def test_the_scored_card_has_the_primary_metrics_of_every_split_in_its_model_index(results):
    card = scored(results)
    entries = {
        (entry.dataset_split, entry.dataset_config, entry.metric_type): entry for entry in card.data.eval_results
    }
    assert set(entries) == {
        ("validation", "counting", "mae"),
        ("validation", "report", "crimson"),
        ("toys", "counting", "mae"),
    }
    counting = entries["validation", "counting", "mae"]
    assert (counting.metric_value, counting.metric_args["low"], counting.metric_args["questions"]) == (1.234568, 0.4, 8)
    assert (counting.dataset_type, counting.dataset_revision) == ("FLARE-MedFM/FLARE-MLLM-2D", COMMIT)
    assert counting.task_name == "counting" and entries["toys", "counting", "mae"].dataset_type == "toy"
    report = entries["validation", "report", "crimson"]
    assert (report.metric_name, report.metric_value, report.metric_args.get("low")) == ("crimson (lab)", -0.5, None)
    assert card.data.datasets == ["FLARE-MedFM/FLARE-MLLM-2D"] and card.data.license == "other"


def test_the_scored_card_keeps_what_training_wrote_and_shows_the_base_beside_it(results):
    trained, card = (results / "systems/tuned/adapter/README.md").read_text(), scored(results)
    assert ModelCard(trained).text.strip() in card.text and "## Results on validation" in card.text
    assert "| counting | **macro** | mae ↓ | 8 | 7.000 [0.400, 0.600] | 1.235 [0.400, 0.600] |" in card.text
    assert "majority" not in card.text and "cells" not in card.text and "research use only" in card.text
    assert json.loads(json.dumps(card.data.to_dict()["model-index"]))[0]["name"] == "tuned (flarebench)"


def test_an_adapter_without_a_card_is_one_sentence(results):
    (results / "systems/tuned/adapter/README.md").write_text("---\n- not\n- a mapping\n---\n")
    with pytest.raises(BadFile, match=r"is not a model card .*; run the training of this system again"):
        scored(results)
    (results / "systems/tuned/adapter/README.md").unlink()
    with pytest.raises(BadFile, match="is not a model card"):
        scored(results)
