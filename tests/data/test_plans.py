"""What a plan sees of a local dataset, and that results inside of it come to an end."""

import gzip
import json
import os

import pytest
import yaml

from tests.data.roots import png, row, write_subset
from tests.workflow.runs import checkout, planned, refused, snakemake

pytestmark = pytest.mark.workflow
CONFIG = "config/inside.yaml"


def wanted(results):
    """The configuration, and what the data stage writes for it."""
    files = ("data/mine/audit/index.html", "splits/train/sft.jsonl", "splits/validation/rows.parquet")
    return ("--configfile", CONFIG, "--", *(f"{results}/{file}" for file in files))


def run_inside(folder, results):
    """A run whose results lie inside the dataset, up to the splits and the audit."""
    checkout(folder)
    for start, name in ((0, "training"), (50, "validation-public")):
        images = {f"images/{i}.png": png(i) for i in range(start, start + 6)}
        write_subset(folder / "lab", [row(image) for image in images], images, folder=name)
    configuration = {
        "results": results,
        "datasets": {"mine": {"source": "local", "path": "lab"}},
        "splits": {
            "train": {"dataset": "mine", "folder": "training"},
            "validation": {"dataset": "mine", "folder": "validation-public"},
        },
        "models": {},
        "systems": {"majority": {"baseline": "majority", "train": "train"}},
        "judges": {"rule_based": {"backend": "rule_based"}},
        "evaluate": ["validation"],
        "scoring": {"resamples": 100},
    }
    (folder / CONFIG).write_text(yaml.safe_dump(configuration))
    output = snakemake(folder, *wanted(results))
    assert f"no part of the dataset: {results.removeprefix('lab/')} (split folders are" in output
    return folder, results


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Results inside a split folder, where questions and images lie."""
    return run_inside(tmp_path_factory.mktemp("inside"), "lab/training/results")


@pytest.mark.extended
def test_a_run_whose_results_lie_inside_the_dataset_is_done(done, tmp_path):
    for folder, results in (done, run_inside(tmp_path, "lab/results")):
        assert planned(folder, *wanted(results)) == {}


@pytest.mark.parametrize("name", ["notes.txt", "Thumbs.db", ".DS_Store"])
def test_a_file_that_no_row_can_use_plans_nothing(done, name):
    folder, results = done
    for place in ("lab", "lab/training/Xray/ds", "lab/training/Xray/ds/images"):
        (folder / place / name).write_bytes(b"x")
    assert planned(folder, *wanted(results)) == {}


def test_a_damaged_record_is_one_sentence_and_the_dataset_is_looked_at_again(done):
    folder, results = done
    (folder / results / "data/mine/seen.json").write_text("{")
    output = snakemake(folder, *wanted(results))
    assert "seen.json is damaged: it is ignored and written anew" in output and "Traceback" not in output
    assert json.loads((folder / results / "data/mine/seen.json").read_text())["files"]
    assert planned(folder, *wanted(results)) == {}


def test_a_question_file_that_cannot_be_read_where_it_lies_plans_the_conversion(done):
    folder, results = done
    (folder / "lab/training/Xray/ds/more.json.gz").write_bytes(gzip.compress(b'[{"Question": "?"}]'))
    assert {"data_inventory", "data_convert", "data_audit"} <= set(planned(folder, *wanted(results)))
    (folder / "lab/training/Xray/ds/more.json.gz").unlink()


@pytest.mark.parametrize("place", ["nowhere", "a-file"])
def test_a_folder_for_temporary_files_that_cannot_be_used_is_one_sentence(done, tmp_path, place):

    (tmp_path / "a-file").write_text("")
    said = refused(done[0], "--configfile", CONFIG, env=os.environ | {"TMPDIR": str(tmp_path / place)})
    assert f"{tmp_path / place} cannot be written to" in said and "set TMPDIR to a folder that can" in said
