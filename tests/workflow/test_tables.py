"""Tables through the workflow: shipped configurations plan, run on imitated files, and run again as contracted."""

import csv
import os
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tests.data.hub_server import Hub
from tests.data.roots import png
from tests.data.table_layouts import chestx_ray14, chexpert, mimic_cxr, path_vqa, slake, vqa_rad, write_files
from tests.workflow.runs import ROOT, checkout, logged_out, planned, refused, snakemake
from workflow_scripts.core.config.sources.presets import keys_of
from workflow_scripts.core.rows import LeftOutRow, Row
from workflow_scripts.core.tables import read_rows

pytestmark = pytest.mark.workflow

SMALL = {"steps": 4, "batch": 4, "micro_batch": 4, "epochs": None, "learning_rate": 2e-3}


def shipped(name: str, results: str, **changes: object) -> dict:
    """A shipped configuration with the toy model in place of its own."""
    raw = yaml.safe_load((ROOT / f"config/{name}.yaml").read_text())
    raw |= {"results": results, "models": {"tiny": {"source": "synthetic"}}, "recipes": {"qlora": SMALL}}
    raw["systems"] |= {"base": {"model": "tiny"}, "tuned": {"model": "tiny", "recipe": "qlora", "train": "train"}}
    raw["inference"] = {"shards": 1, "max_new_tokens": {"open_vqa": 8, "closed_vqa": 4, "multi_label": 8}}
    return raw | {"scoring": {"resamples": 100}, "report": {"cases": 2}} | changes


def without_models(raw: dict) -> dict:
    """The configuration with its baselines alone."""
    systems = {name: entry for name, entry in raw["systems"].items() if "baseline" in entry}
    return raw | {"systems": systems, "models": {}, "recipes": {}, "inference": {"shards": 1}}


def write(folder: Path, name: str, raw: dict) -> tuple[str, str]:
    """Write a configuration; the arguments that name it."""
    (folder / f"config/{name}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return "--configfile", f"config/{name}.yaml"


def hub() -> Hub:
    """A hub that holds the three sets of medical questions at the revisions of their presets."""
    others = {}
    for preset, files in (("vqa-rad", vqa_rad()), ("slake", slake()), ("path-vqa", path_vqa())):
        keys = keys_of(preset)
        others[keys["repo"]] = ("0" * 40 if keys["revision"] == "main" else keys["revision"], files)
    return Hub({}, others=others)


def xray(folder: Path) -> None:
    """The folders of chest radiographs that `config/xray-labels.yaml` names."""
    chexpert(folder / "xray/CheXpert-v1.0-small")
    chestx_ray14(folder / "xray/ChestX-ray14")
    mimic_cxr(folder / "xray/mimic-cxr-jpg")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = checkout(tmp_path_factory.mktemp("tables"))
    xray(folder)
    return folder


def test_the_shipped_configurations_plan_without_token_or_network(folder):
    output = snakemake(folder, "-n", "--configfile", "config/vqa.yaml", env=logged_out())
    for name in ("vqa_rad", "slake", "path_vqa"):
        assert f"Downloading {name} from the hub" in output
        assert f"Preparing {name}: results/vqa/data/{name}/download" in output
    assert "Joining all" in output and "Tuning tuned on stored features" in output
    plan = planned(folder, "--configfile", "config/medical-questions.yaml")
    assert (plan["data_download_tables"], plan["data_prepare"], plan["data_join"], plan["infer_answer"]) == (
        5,
        5,
        1,
        20,
    )
    plan = planned(folder, "--configfile", "config/xray-labels.yaml")
    assert plan["data_prepare"] == 4 and plan["data_join"] == 1 and "data_download_tables" not in plan
    assert (plan["saliency_map"], plan["saliency_table"]) == (2, 1)
    plan = planned(folder, "--configfile", "config/hospitals.yaml")
    assert (plan["train_tune"], plan["report_holdouts"], plan["infer_baseline"]) == (3, 1, 6)


def test_a_folder_that_is_not_there_and_a_join_of_nothing_are_one_sentence(folder):
    raw = yaml.safe_load((ROOT / "config/xray-labels.yaml").read_text())
    raw["datasets"]["chexpert"]["path"] = "nowhere"
    output = refused(folder, "-n", *write(folder, "absent", raw))
    assert "datasets.chexpert.path: nowhere does not exist; give the folder or the file" in output
    raw = yaml.safe_load((ROOT / "config/vqa.yaml").read_text())
    raw["datasets"]["all"]["datasets"] = ["slake", "slakes"]
    sentence = "datasets.all.datasets: 'slakes' is not in `datasets`; allowed: path_vqa, slake, vqa_rad"
    assert sentence in refused(folder, "-n", *write(folder, "joined", raw))


def test_a_gated_table_stops_before_any_job_without_a_token(folder):
    raw = without_models(shipped("vqa", "results/gated"))
    raw["datasets"]["slake"]["gated"] = True
    output = refused(folder, *write(folder, "gated", raw), env=logged_out())
    assert "BoKelvin/SLAKE is gated and HF_TOKEN is not set" in output


TABLE = "results/{name}/report/{split}/table.csv"


def rows_of(folder: Path, results: str, split: str) -> list[Row]:
    return read_rows(folder / f"results/{results}/splits/{split}/rows.parquet", Row)


@pytest.fixture(scope="module")
def lab(folder):
    """The splits of a lab's own table, and of one that is joined from two; the arguments that make them."""
    rows = [
        {
            "image": f"scans/{n}.png",
            "question": "Is there a fracture?",
            "answer": ("yes", "no")[n % 3 > 0],
            "split": split,
        }
        for n, split in enumerate(["training"] * 8 + ["testing"] * 4)
    ]
    for name in ("lab", "clinic"):
        place = write_files(folder / name, {f"scans/{n}.png": png(n + 100 * len(name), 40, 32) for n in range(12)})
        with (place / "questions.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, rows[0].keys())
            writer.writeheader()
            writer.writerows(rows)
    raw = without_models(shipped("vqa", "results/lab"))
    keys = {"source": "table", "task": "closed vqa", "split": {"column": "split"}}
    raw["datasets"] = {name: {**keys, "path": name} for name in ("lab", "clinic")}
    raw["datasets"]["both"] = {"source": "joined", "datasets": ["lab", "clinic"]}
    raw["splits"] = {
        "train": {"dataset": "both", "folder": "training"},
        "test": {"dataset": "lab", "folder": "testing"},
    }
    raw |= {"evaluate": ["test"], "groups": {}, "systems": {"majority": {"baseline": "majority", "train": "train"}}}
    targets = [f"results/lab/splits/{split}/rows.parquet" for split in raw["splits"]]
    arguments = (*targets, *write(folder, "lab", raw))
    snakemake(folder, *arguments)
    return arguments


OF_ONE = {"data_prepare": 1, "data_convert": 1, "data_join": 1, "data_split": 2}
"""What follows from one of the two datasets."""


@pytest.mark.extended
def test_a_table_runs_again_when_its_bytes_change_and_only_what_follows_from_it(folder, lab):
    assert planned(folder, *lab) == {}
    assert len(rows_of(folder, "lab", "train")) == 16
    for name in ("lab/questions.csv", "lab/scans/0.png", "clinic/scans/9.png"):
        os.utime(folder / name, (1, 1))
    assert planned(folder, *lab) == {}
    table = folder / "lab/questions.csv"
    content = table.read_bytes()
    table.write_bytes(content.replace(b"fracture", b"effusion", 1))
    assert planned(folder, *lab) == OF_ONE
    table.write_bytes(content)
    assert planned(folder, *lab) == {}
    (folder / "clinic/scans/9.png").write_bytes(png(9999, 40, 32))
    assert planned(folder, *lab).items() >= {"data_prepare": 1, "data_convert": 1, "data_join": 1}.items()
    snakemake(folder, *lab)
    assert planned(folder, *lab) == {}


@pytest.mark.extended
def test_the_vqa_configuration_runs_from_the_hub_to_tables_with_the_toy_model(folder):
    arguments = write(folder, "vqa-toy", shipped("vqa", "results/vqa-toy"))
    with hub() as server:
        environment = logged_out() | {"HF_ENDPOINT": server.endpoint, "NO_PROXY": "127.0.0.1"}
        snakemake(folder, *arguments, env=environment)
        assert planned(folder, *arguments) == {}
    for split in ("vqa_rad", "slake", "path_vqa"):
        lines = (folder / TABLE.format(name="vqa-toy", split=split)).read_text()
        assert "open_vqa" in lines and "closed_vqa" in lines
    left_out = read_rows(folder / "results/vqa-toy/splits/train/left_out.parquet", LeftOutRow)
    assert {row.subset for row in left_out} == {"VQA-RAD"} and len(left_out) == 8
    evaluated = {image.sha256 for image in (i for row in rows_of(folder, "vqa-toy", "vqa_rad") for i in row.images)}
    trained = {image.sha256 for image in (i for row in rows_of(folder, "vqa-toy", "train") for i in row.images)}
    assert evaluated.isdisjoint(trained)
    groups = pq.read_table(folder / "results/vqa-toy/scores/vqa_rad/groups.parquet").to_pylist()
    assert {(line["group"], line["value"]) for line in groups} >= {
        ("image_in_training", "yes"),
        ("image_in_training", "no"),
    }


@pytest.mark.extended
def test_the_configuration_of_labels_runs_from_csv_files_to_tables_with_the_toy_model(folder):
    arguments = write(folder, "xray-toy", shipped("xray-labels", "results/xray-toy"))
    snakemake(folder, *arguments)
    for split in ("chexpert", "mimic_cxr", "chestx_ray14", "chestx_ray14_expert"):
        lines = (folder / TABLE.format(name="xray-toy", split=split)).read_text()
        assert "macro_f1" in lines and "multi_label" in lines
    assert planned(folder, *arguments) == {}
