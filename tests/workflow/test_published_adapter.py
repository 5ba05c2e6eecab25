"""A published adapter from the hub to a row of the table: two lines of configuration, and nothing is trained."""

import csv
import json
import os

import pytest
import yaml

from tests.models.adapter_hub import COMMIT, AdapterHub
from tests.models.adapters import SETTINGS, WEIGHTS, renamed, write_adapter
from tests.models.test_adapters import OLD_NAMES
from tests.workflow.runs import ROOT, checkout, planned, snakemake
from workflow_scripts.core.rows import Prediction
from workflow_scripts.core.tables import read_rows
from workflow_scripts.models.record import read_record
from workflow_scripts.synthetic.model import write_model

pytestmark = [pytest.mark.workflow, pytest.mark.extended]
CONFIG, RESULTS = ("--configfile", "config/theirs.yaml"), "results/theirs"
TARGETS = (f"{RESULTS}/report/validation/table.csv", f"{RESULTS}/report/validation/index.html")


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A run on the toy model with an adapter of a hub, whose tensors have the names of an older transformers."""
    folder = checkout(tmp_path_factory.mktemp("theirs"))
    weights = tmp_path_factory.mktemp("weights")
    write_model(record=weights / "tiny.json")
    old = renamed(
        write_adapter(weights / "tiny.json", weights / "ours"), weights / "old", OLD_NAMES["transformers 4.50"]
    )
    files = {name: (old / name).read_bytes() for name in (WEIGHTS, SETTINGS)} | {"README.md": b"A card."}
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    model = {"source": "hub", "family": "gemma3", "gated": False, "gpus": 0, "image": {"size": 48}}
    raw |= {
        "results": RESULTS,
        "recipes": {},
        "judges": {},
        "models": {"toy": model | {"checkpoint": str(weights / "tiny")}},
        "systems": {"base": {"model": "toy"}, "theirs": {"model": "toy", "adapter": "some/lora@main"}},
    }
    raw["datasets"]["toy"]["scale"] = 0.03
    raw["inference"]["together"] = [["base", "theirs"]]
    (folder / CONFIG[1]).write_text(yaml.safe_dump(raw, sort_keys=False))
    with AdapterHub({"some/lora": files}) as hub:
        environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(weights / "hub")}
        snakemake(folder, *TARGETS, *CONFIG, env=environment)
        assert sorted(hub.served) == sorted([WEIGHTS, SETTINGS])
    return folder


def test_a_row_of_the_table_is_its_and_the_commit_is_recorded_and_printed_to_be_pinned(done):
    with (done / RESULTS / "report/validation/table.csv").open(newline="") as lines:
        assert {line["system"] for line in csv.DictReader(lines)} == {"base", "theirs"}
    texts = [
        [row.text for row in read_rows(done / f"{RESULTS}/predictions/validation/{system}.parquet", Prediction)]
        for system in ("base", "theirs")
    ]
    assert len(texts[0]) == len(texts[1]) > 20 and texts[0] != texts[1]
    record, _ = read_record(done / RESULTS / "models/adapters/theirs.json")
    assert (record.revision, record.checkpoint) == (COMMIT, "some/lora")
    methods = (done / RESULTS / "report/validation/methods.md").read_text()
    assert "`theirs` is the local checkpoint `toy` of the family gemma3 (files' hash " in methods
    assert "each image resized to 48 × 48 pixels (Lanczos) first, with the published adapter some/lora (com" in methods
    numbers = json.loads((done / RESULTS / "report/validation/results.json").read_text())
    assert numbers["provenance"]["revisions"]["adapters/theirs"] == COMMIT
    assert numbers["systems"]["theirs"]["files"]["published adapter"] == "models/adapters/theirs.json"
    log = (done / RESULTS / "logs/models_fetch/adapters/theirs.log").read_text()
    assert f"to pin it: `adapter: some/lora@{COMMIT}`" in log


def test_nothing_is_left_to_do_and_another_image_size_makes_features_and_answers_anew(done):
    assert planned(done, *TARGETS, *CONFIG) == {}
    text = (done / CONFIG[1]).read_text()
    other = done / "config/other.yaml"
    other.write_text(text.replace("size: 48", "size: 56", 1))
    plan = planned(done, *TARGETS, "--configfile", "config/other.yaml")
    assert plan["models_fetch"] == plan["features_extract"] == plan["infer_answer"] == 1
    assert not plan.keys() & {"data_convert", "data_split", "infer_baseline"}
