"""Tiny random checkpoints of families, base and tuned, from the toy data to the report, in one run of the workflow."""

import csv

import pyarrow.parquet as pq
import pytest
import yaml

from tests.models import tiny
from tests.workflow.runs import ROOT, checkout, planned, snakemake
from workflow_scripts.core.config.models import BOX_CONVENTIONS, COMPUTES_FEATURES
from workflow_scripts.core.rows import Outcome, Prediction, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.training_rows import TrainingStep

pytestmark = [pytest.mark.workflow, pytest.mark.extended]
FAMILIES = ("paligemma2", "llava", "qwen2_5_vl", "qwen3_vl", "qwen3_5", "internvl", "idefics3", "text", "chexagent")
"""All but Gemma 3, which the toy model is: every other run of the workflow has it."""

RUNS = {"families": FAMILIES[:-1], "chexagent": FAMILIES[-1:]}
"""Families by the name of their run: CheXagent's context holds two images, and a subset has rows of five."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("families"))


@pytest.fixture(scope="module")
def done(folder):
    """Results by family; systems are a base and a tuned model, boxes native where the family has a form."""
    for name, families in RUNS.items():
        raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
        raw |= {"results": f"results/{name}", "models": {}, "systems": {"majority": raw["systems"]["majority"]}}
        for family in families:
            tiny.build(family, folder / f"checkpoints/{family}")
            model = {
                "source": "hub",
                "family": family,
                "checkpoint": f"checkpoints/{family}",
                "gated": False,
                "gpus": 0,
            }
            raw["models"][family] = model | {"boxes": "native" if family in BOX_CONVENTIONS else "dataset"}
            raw["systems"][family] = {"model": family}
            raw["systems"][f"{family}-tuned"] = {"model": family, "recipe": "qlora", "train": "train"}
        if name == "chexagent":
            for split in raw["splits"].values():
                split["exclude"] = ["polyps"]
        raw["datasets"]["toy"]["scale"] = 0.05
        raw["recipes"]["qlora"] |= {"learning_rate": 5e-3, "steps": 6, "quantisation": "none"}
        (folder / f"config/{name}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
        snakemake(folder, "--configfile", f"config/{name}.yaml")
    return {family: folder / "results" / name for name, families in RUNS.items() for family in families}


@pytest.mark.parametrize("name", RUNS)
def test_nothing_is_left_to_do(done, folder, name):
    assert planned(folder, "--configfile", f"config/{name}.yaml") == {}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_answers_every_row_untuned_and_tuned_and_has_its_columns_in_the_table(done, family):
    uids = pq.read_table(done[family] / "splits/validation/rows.parquet")["uid"].to_pylist()
    texts = {}
    for system in (family, f"{family}-tuned"):
        answers = read_rows(done[family] / f"predictions/validation/{system}.parquet", Prediction)
        assert [answer.uid for answer in answers] == uids
        assert len(read_rows(done[family] / f"scores/validation/{system}/outcomes.parquet", Outcome)) == len(uids)
        texts[system] = [answer.text for answer in answers]
    assert texts[family] != texts[f"{family}-tuned"]
    losses = [row.loss for row in read_rows(done[family] / f"systems/{family}-tuned/history.parquet", TrainingStep)]
    assert len(losses) == 6 and sum(losses[3:]) < sum(losses[:3])  # single batches differ more than steps
    with (done[family] / "report/validation/table.csv").open(newline="") as lines:
        assert {family, f"{family}-tuned"} <= {line["system"] for line in csv.DictReader(lines)}


@pytest.mark.parametrize("family", FAMILIES)
def test_boxes_are_asked_for_in_the_familys_form_and_answers_are_carried_back(done, family):
    rows = read_rows(done[family] / "splits/validation/rows.parquet", Row)
    boxed = {row.uid for row in rows if row.expected.box_convention is not None}
    answers = read_rows(done[family] / f"predictions/validation/{family}.parquet", Prediction)
    carried = {answer.uid for answer in answers if answer.raw_text is not None}
    assert boxed and carried == (boxed if family in BOX_CONVENTIONS else set())


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_stored_once_where_the_family_stores_them(done, family):
    indices = list((done[family] / "features").glob(f"{family}/*/index.parquet"))
    assert len(indices) == (0 if family in COMPUTES_FEATURES else 2)
