"""What a challenge mounts becomes a dataset by links; it is only read, and its training rows are not answered."""

import json
import os

import pytest

from tests.data.roots import pngs, row, write_subset
from workflow_scripts.core.command import Refused
from workflow_scripts.core.manifest import dataset_stamps
from workflow_scripts.submit.inputs import link_inputs

RECORDS = [row("imagesTr/0.png", answer=None)]


def files_of(root) -> set[str]:
    return set(dataset_stamps(root))


@pytest.mark.parametrize("folder", ["testing", "validation-hidden", "validation_hidden"])
def test_split_folders_are_linked_under_their_names(tmp_path, folder):
    write_subset(tmp_path / "inputs", RECORDS, pngs(1), folder=folder)
    link_inputs(inputs=tmp_path / "inputs", root=tmp_path / "work/root")
    subset = f"{folder}/Xray/ds"
    assert files_of(tmp_path / "work/root") == {f"{subset}/imagesTr/0.png", f"{subset}/ds_questions_train.json"}
    assert [path.name for path in (tmp_path / "work/root").iterdir() if path.is_symlink()] == [folder]


def test_a_dataset_in_a_folder_of_the_inputs_is_looked_into(tmp_path):
    write_subset(tmp_path / "inputs/FLARE", RECORDS, pngs(1), folder="testing")
    link_inputs(inputs=tmp_path / "inputs", root=tmp_path / "root")
    assert "testing/Xray/ds/ds_questions_train.json" in files_of(tmp_path / "root")


def test_inputs_without_a_split_folder_are_the_testing_split(tmp_path):
    write_subset(tmp_path, RECORDS, pngs(1), folder="inputs")
    link_inputs(inputs=tmp_path / "inputs", root=tmp_path / "root")
    assert "testing/Xray/ds/imagesTr/0.png" in files_of(tmp_path / "root")


def test_training_rows_are_left_out_and_it_is_said(tmp_path):
    for folder in ("training", "testing"):
        write_subset(tmp_path / "inputs", RECORDS, pngs(1), folder=folder)
    said = link_inputs(inputs=tmp_path / "inputs", root=tmp_path / "root")
    assert said.endswith("the training rows are left out")
    assert {path.split("/")[0] for path in files_of(tmp_path / "root")} == {"testing"}


def test_inputs_with_nothing_to_answer_are_refused(tmp_path):
    write_subset(tmp_path / "inputs", RECORDS, pngs(1), folder="training")
    with pytest.raises(Refused, match=r"holds no questions; expected \{validation-hidden,testing"):
        link_inputs(inputs=tmp_path / "inputs", root=tmp_path / "root")


def test_two_datasets_in_the_inputs_are_refused(tmp_path):
    for name in ("2025", "2026"):
        write_subset(tmp_path / "inputs" / name, RECORDS, pngs(1), folder="testing")
    with pytest.raises(Refused, match=r"several datasets \(2025, 2026\); mount one"):
        link_inputs(inputs=tmp_path / "inputs", root=tmp_path / "root")


def test_inputs_that_are_not_there_are_one_sentence(tmp_path):
    with pytest.raises(Refused, match="is not a directory; mount"):
        link_inputs(inputs=tmp_path / "inputs", root=tmp_path / "root")


def test_nothing_is_copied_or_written_below_the_inputs(tmp_path):
    write_subset(tmp_path / "inputs", RECORDS, pngs(1), folder="testing")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "inputs").rglob("*")}
    link_inputs(inputs=tmp_path / "inputs", root=tmp_path / "root")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "inputs").rglob("*")} == before
    question = tmp_path / "root/testing/Xray/ds/ds_questions_train.json"
    assert os.path.realpath(question).startswith(str(tmp_path / "inputs"))
    assert json.loads(question.read_text()) == RECORDS
