"""Volumes of CT go from a folder of NIfTI files to the table by the shipped configuration, on a phantom."""

import csv
import json

import numpy as np
import pytest
import yaml

from tests.data.phantom import phantom, write_nifti
from tests.data.roots import converted
from tests.workflow.runs import ROOT, checkout, planned, snakemake
from workflow_scripts.core.config.sources.nifti import NiftiDataset
from workflow_scripts.core.rows import Outcome, Prediction, QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.data.sources.folder import write_folder
from workflow_scripts.data.sources.nifti import records

pytestmark = pytest.mark.workflow
CONFIG, RESULTS = ("--configfile", "config/volumes.yaml"), "results/volumes"
SLICES = 90
"""More than are shown."""


def write_table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def write_ct_rate(folder, *, train, valid, slices=SLICES):
    """CT-RATE's layout: a folder a patient and a scan, Hounsfield units, and two tables a part."""
    for part, name, count in (("train", "train", train), ("valid", "validation", valid)):
        reports, metadata = [], []
        for patient in range(1, count + 1):
            volume = f"{part}_{patient}_a_1.nii.gz"
            values = phantom(slices, 20, 24, seed=patient + 50 * (part == "valid"))
            place = folder / f"{part}_fixed/{part}_{patient}/{part}_{patient}_a" / volume
            write_nifti(place, values.astype(np.int16), "LPS")
            findings = f"The right lung is {('larger', 'clear')[patient % 2]}. Nodule of {patient} mm."
            reports.append({"VolumeName": volume, "Findings_EN": findings, "Impressions_EN": "x"})
            about = {"Manufacturer": "ACME", "PatientSex": "FM"[patient % 2], "PatientAge": f"0{30 + 10 * patient}Y"}
            metadata.append({"VolumeName": volume, **about, "RescaleSlope": "1", "RescaleIntercept": "-1024"})
        write_table(folder / f"radiology_text_reports/{name}_reports.csv", reports)
        write_table(folder / f"metadata/{name}_metadata.csv", metadata)
        labels = yaml.safe_load((ROOT / "config/volume-labels.yaml").read_text())["datasets"]["ct_train"]["labels"]
        absent = [{"VolumeName": row["VolumeName"], **dict.fromkeys(labels["conditions"], "0")} for row in reports]
        write_table(folder / f"multi_abnormality_labels/{part}_predicted_labels.csv", absent)
    (folder / "train_fixed/train_1/train_1_a/cut.nii.gz").write_bytes(b"\x1f\x8b")


def test_the_shipped_configuration_is_planned(tmp_path):
    folder = checkout(tmp_path / "planned")
    write_ct_rate(folder / "data/ct-rate", train=1, valid=1, slices=2)
    jobs = planned(folder, *CONFIG)
    assert (jobs["data_prepare"], jobs["data_convert"], jobs["train_tune"], jobs["infer_answer"]) == (2, 2, 1, 2)
    assert {"features_extract", "score_judge", "report_tables", "report_page"} <= jobs.keys()


def test_the_configuration_of_labels_is_planned(tmp_path):
    folder = checkout(tmp_path / "labels")
    write_ct_rate(folder / "data/ct-rate", train=1, valid=1, slices=2)
    jobs = planned(folder, "--configfile", "config/volume-labels.yaml")
    assert (jobs["data_prepare"], jobs["train_tune"], jobs["infer_answer"], jobs["report_groups"]) == (2, 1, 2, 1)


def test_the_labels_of_a_volume_are_one_question_about_its_slices(tmp_path):
    write_ct_rate(tmp_path / "ct-rate", train=2, valid=1, slices=4)
    keys = yaml.safe_load((ROOT / "config/volume-labels.yaml").read_text())["datasets"]["ct_train"]
    spec = NiftiDataset.model_validate(keys | {"path": str(tmp_path / "ct-rate")})
    write_folder(records(spec, tmp_path / "ct-rate", 1), tmp_path / "root", {"source": "nifti"})
    rows = [row for row in converted(tmp_path / "root", tmp_path).rows if row.task == "multi_label"]
    assert [(row.task, row.answer, len(row.images)) for row in rows] == [("multi_label", "None", 4)] * 2
    assert len(rows[0].expected.labels) == 18 and "Mosaic attenuation pattern" in rows[0].question


def test_a_folder_that_is_not_there_is_named(tmp_path):
    folder = checkout(tmp_path / "missing")
    assert "data/ct-rate does not exist; give the folder" in snakemake(folder, "-n", *CONFIG, code=1)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """The shipped configuration with the toy model in place of MedGemma, on six and three volumes of 90 slices."""
    folder = checkout(tmp_path_factory.mktemp("volumes"))
    write_ct_rate(folder / "data/ct-rate", train=6, valid=3)
    raw = yaml.safe_load((ROOT / CONFIG[1]).read_text())
    raw["models"] = {"medgemma15": {"source": "synthetic"}}
    raw["recipes"] = {"qlora": {"learning_rate": 2e-3, "epochs": None, "steps": 2, "batch": 2, "micro_batch": 1}}
    raw["judges"] = {"rule_based": {"backend": "rule_based"}}
    raw["inference"] |= {"shards": 1, "max_new_tokens": {"report": 8}}
    raw |= {"scoring": {"resamples": 100}, "report": {"cases": 3}}
    (folder / CONFIG[1]).write_text(yaml.safe_dump(raw, sort_keys=False))
    snakemake(folder, f"{RESULTS}/report/validation/table.csv", f"{RESULTS}/report/validation/index.html", *CONFIG)
    return folder


@pytest.mark.extended
def test_volumes_go_from_the_source_to_the_table(done):
    rows = read_rows(done / RESULTS / "data/ct_validation/rows.parquet", Row)
    assert [len(row.images) for row in rows] == [85] * 3
    assert [image.role for image in rows[0].images][::84] == ["slice 1", "slice 85"]
    assert {row.case_id for row in rows} == {f"/case/valid_{n}" for n in (1, 2, 3)}
    assert [group.name for group in rows[0].groups] == ["age band", "scanner", "sex"]
    quarantine = read_rows(done / RESULTS / "data/ct_train/quarantine.parquet", QuarantinedRow)
    assert [(item.reason, json.loads(item.record)["Place"]) for item in quarantine] == [
        ("unused_volume", "train_fixed/train_1/train_1_a/cut.nii.gz")
    ]
    for system in ("base", "tuned"):
        answers = read_rows(done / RESULTS / f"predictions/validation/{system}.parquet", Prediction)
        assert len(answers) == 3 and all(answer.prompt_tokens > 85 * 16 for answer in answers)
        outcomes = read_rows(done / RESULTS / f"scores/validation/{system}/outcomes.parquet", Outcome)
        assert len(outcomes) == 3
    with (done / RESULTS / "report/validation/table.csv").open(newline="") as lines:
        table = list(csv.DictReader(lines))
    assert {line["system"] for line in table} >= {"base", "tuned", "majority", "empty"}
    assert {line["task"] for line in table} == {"report"}


@pytest.mark.extended
def test_nothing_is_planned_again_and_a_changed_volume_is_prepared_again(done):
    targets = (f"{RESULTS}/report/validation/table.csv",)
    assert planned(done, *targets, *CONFIG) == {}
    file = done / "data/ct-rate/valid_fixed/valid_1/valid_1_a/valid_1_a_1.nii.gz"
    before = file.read_bytes()
    write_nifti(file, phantom(SLICES, 20, 24, seed=99).astype(np.int16), "LPS")
    assert planned(done, *targets, *CONFIG)["data_prepare"] == 1
    file.write_bytes(before)
    assert planned(done, *targets, *CONFIG) == {}
