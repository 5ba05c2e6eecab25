"""The presets of medical questions with options, on imitations of their files."""

import pytest

from tests.data.question_layouts import SUBJECTS, medmcqa, medqa, medxpertqa, mmlu
from tests.data.table_layouts import write_files
from tests.data.tables import table_of


@pytest.fixture
def prepared(tmp_path):
    """A function: what comes of imitated files by a preset."""
    return lambda preset, files: table_of(tmp_path / "work", write_files(tmp_path / "hub", files), preset=preset)


def by_folder(table) -> dict[str, int]:
    folders = [row.folder for row in table.result.rows]
    return {folder: folders.count(folder) for folder in dict.fromkeys(folders)}


def training(table, place: int):
    """A training row by its place."""
    return [row for row in table.result.rows if row.folder == "training"][place]


def test_medqa_asks_with_its_options_and_expects_the_letter(prepared):
    table = prepared("medqa", medqa())
    assert not table.faults and by_folder(table) == {"training": 8, "testing": 8}
    row = training(table, 1)
    assert (
        row.question
        == "A man of 31 years has a cough. What is given? Options: A) drug 7 B) drug 8 C) drug 9 D) drug 10"
    )
    assert (row.task, row.answer, row.expected.answer_by, row.images) == ("closed_vqa", "B", "letter", ())
    assert [option.text for option in row.expected.options] == ["drug 7", "drug 8", "drug 9", "drug 10"]
    assert dict(row.groups) == {"examination": "step2&3"}


def test_medmcqa_is_scored_on_the_split_whose_answers_are_published(prepared):
    table = prepared("medmcqa", medmcqa())
    assert not table.faults and by_folder(table) == {"training": 8, "testing": 8}
    assert [training(table, place).answer for place in range(5)] == ["A", "B", "C", "D", "A"]
    assert not any("number 2" in row.question for row in table.result.rows if row.folder == "testing")


def test_mmlu_keeps_its_medical_subjects_alone(prepared):
    table = prepared("mmlu-medical", mmlu())
    assert not table.faults
    assert by_folder(table) == {"training": 24, "validation-public": 24, "testing": 24}
    assert {dict(row.groups)["subject"] for row in table.result.rows} == set(SUBJECTS) - {"astronomy"}
    assert {row.expected.answer_by for row in table.result.rows} == {"letter"}


def test_medxpertqa_has_its_choices_once_and_its_images_out_of_the_zip(prepared, tmp_path):
    text = prepared("medxpertqa", medxpertqa())
    assert not text.faults and by_folder(text) == {"training": 5, "testing": 5}
    row = training(text, 3)
    assert row.question.startswith("What is shown, 3? Options: A) finding a3 ") and row.question.endswith(
        "J) finding j3"
    )
    assert (row.answer, len(row.expected.options), row.images) == ("D", 10, ())
    both = table_of(tmp_path / "images", tmp_path / "hub", preset="medxpertqa-images")
    assert not both.faults and by_folder(both) == {"training": 5, "testing": 5}
    assert [len(training(both, place).images) for place in range(5)] == [1, 2, 1, 2, 1]
    assert training(both, 1).answer == "B" and len(training(both, 1).expected.options) == 5
