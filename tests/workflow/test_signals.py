"""Signals through the workflow: the shipped configuration plans, runs on imitated files, and again as it should."""

import csv
import os

import pytest
import yaml

from tests.data.signal_tables import ecg_layout, icbhi_layout, interbeat_layout, pulse_layout, written
from tests.workflow.runs import ROOT, checkout, logged_out, planned, refused, snakemake
from workflow_scripts.cache.pseudonyms import ENVIRONMENT
from workflow_scripts.core.rows import Row
from workflow_scripts.core.tables import read_rows

pytestmark = pytest.mark.workflow

SPLITS = ("intervals", "pulse", "ecg", "breathing")
SHIPPED = ("--configfile", "config/signals.yaml")
SMALL = {"steps": 4, "batch": 4, "micro_batch": 2, "epochs": None, "learning_rate": 2e-3}


@pytest.fixture(scope="module", autouse=True)
def key():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, "0123456789abcdef-of-tests")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout with recordings in the layouts that the shipped configuration names."""
    folder = checkout(tmp_path_factory.mktemp("signals"))
    layouts = {"intervals": interbeat_layout(), "pulse": pulse_layout(), "ecg": ecg_layout(), "icbhi": icbhi_layout()}
    for name, files in layouts.items():
        written(folder / f"signals/{name}", files)
    return folder


def shipped(results: str, **changes: object) -> dict:
    """The shipped configuration."""
    return yaml.safe_load((ROOT / SHIPPED[1]).read_text()) | {"results": results} | changes


def write(folder, name: str, raw: dict) -> tuple[str, str]:
    """Write a configuration; the arguments that name it."""
    (folder / f"config/{name}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return "--configfile", f"config/{name}.yaml"


def test_the_shipped_configuration_plans_without_token_or_network(folder):
    output = snakemake(folder, "-n", *SHIPPED, env=logged_out() | {ENVIRONMENT: os.environ[ENVIRONMENT]})
    for name in SPLITS:
        assert f"Preparing {name}: signals/" in output
    assert "5 shots of train" in output and "Tuning tuned on stored features" in output
    plan = planned(folder, *SHIPPED)
    assert plan["data_prepare"] == 4 and plan["data_join"] == 1 and plan["infer_baseline"] == 12


def test_a_folder_that_is_not_there_and_a_wrong_key_are_one_sentence(folder):
    raw = shipped("results/absent")
    raw["datasets"]["pulse"]["path"] = "nowhere"
    output = refused(folder, "-n", *write(folder, "absent", raw))
    assert "datasets.pulse.path: nowhere does not exist; give the folder or the file" in output
    raw = shipped("results/wrong")
    raw["datasets"]["pulse"]["rendering"] = {"form": "text", "template": "{mean}"}
    output = refused(folder, "-n", *write(folder, "wrong", raw))
    assert "datasets.pulse" in output and "'{mean}' names {mean}; allowed: {name}, {unit}, {hz}" in output


def rows_of(folder, results: str, split: str) -> list[Row]:
    return read_rows(folder / f"results/{results}/splits/{split}/rows.parquet", Row)


@pytest.fixture(scope="module")
def prepared(folder):
    """The splits of the shipped configuration's data; the arguments that make them."""
    raw = shipped("results/data", systems={"majority": {"baseline": "majority", "train": "train"}}, models={})
    raw |= {"recipes": {}, "inference": {"shards": 1}}
    targets = [f"results/data/splits/{split}/rows.parquet" for split in ("train", *SPLITS)]
    arguments = (*targets, *write(folder, "data", raw))
    snakemake(folder, *arguments)
    return arguments


@pytest.mark.slow
def test_signals_become_rows_of_text_and_of_images(folder, prepared):
    by_split = {split: rows_of(folder, "data", split) for split in SPLITS}
    assert [len(rows) for rows in by_split.values()] == [4, 4, 4, 6]
    assert len(rows_of(folder, "data", "train")) == 8 + 8 + 8 + 8
    assert not any(row.images for split in ("intervals", "pulse") for row in by_split[split])
    assert all(len(row.images) == 1 for split in ("ecg", "breathing") for row in by_split[split])
    [line] = [line for line in by_split["pulse"][0].question.splitlines() if line.startswith("PPG")]
    assert line.startswith("PPG (au, 25 values a second): ") and line.count(",") == 200
    cases = {row.case_id for rows in by_split.values() for row in rows}
    assert cases.isdisjoint(row.case_id for row in rows_of(folder, "data", "train"))


@pytest.mark.slow
def test_a_changed_recording_prepares_its_dataset_again_and_a_touched_one_nothing(folder, prepared):
    assert planned(folder, *prepared) == {}
    for name in ("pulse/p3.csv", "ecg/e3.dcm", "intervals/intervals.jsonl", "icbhi/cycles.csv"):
        os.utime(folder / "signals" / name, (1, 1))
    assert planned(folder, *prepared) == {}
    for name in ("pulse/p3.csv", "ecg/e3.dcm"):
        file = folder / "signals" / name
        content = file.read_bytes()
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        plan = planned(folder, *prepared)
        assert plan.items() >= {"data_prepare": 1, "data_convert": 1, "data_join": 1}.items()
        file.write_bytes(content)
        assert planned(folder, *prepared) == {}


@pytest.mark.slow
def test_a_changed_rendering_prepares_its_dataset_again_and_no_other(folder, prepared):
    raw = yaml.safe_load((folder / "config/data.yaml").read_text())
    raw["datasets"]["pulse"]["rendering"]["decimals"] = 1
    arguments = (*prepared[:-2], *write(folder, "decimals", raw))
    assert planned(folder, *arguments).items() >= {"data_prepare": 1, "data_convert": 1, "data_join": 1}.items()


@pytest.mark.extended
def test_the_shipped_configuration_runs_to_tables_with_the_toy_model(folder):
    raw = shipped("results/toy", models={"tiny": {"source": "synthetic"}}, recipes={"qlora": SMALL})
    for name in ("zero_shot", "few_shot", "tuned"):
        raw["systems"][name]["model"] = "tiny"
    raw["systems"]["few_shot"]["shots"]["count"] = 2
    raw["inference"] = {"shards": 1, "max_new_tokens": {"classification": 8, "regression": 6, "multi_label": 8}}
    arguments = write(folder, "toy", raw | {"scoring": {"resamples": 100}, "report": {"cases": 2}})
    snakemake(folder, *arguments)
    for split, metric in zip(SPLITS, ("accuracy", "mae", "accuracy", "macro_f1"), strict=True):
        with (folder / f"results/toy/report/{split}/table.csv").open(newline="") as lines:
            listed = list(csv.DictReader(lines))
        assert {line["system"] for line in listed} == {*raw["systems"]}
        assert any(metric in line["metric"] for line in listed)
    assert planned(folder, *arguments) == {}
