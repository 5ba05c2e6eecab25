"""Rows without answers get the formats that the workflow knows from training rows, though these are not there."""

import shutil

import pytest

from tests.data.roots import OPTIONS, converted, pngs, row, write_subset
from workflow_scripts.core.rows import Convention, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.submit.formats import write_formats

BOXES = "Where is it? [x, y, width, height]"
FINDINGS = "Multi-label Classification"
TRAINING = [
    row("imagesTr/0.png", OPTIONS, "Melanoma"),  # in words, though options have letters
    row("imagesTr/0.png", "Is it benign?", "Perhaps not"),
    row("imagesTr/1.png", "Is it benign?", "Certainly"),
    row("imagesTr/0.png", "Which ones?", "Caries; Crown, or Filling", FINDINGS),
    row("imagesTr/1.png", "Where is it?", [[1, 1, 3, 3], [9, 9, 2, 2]], "Detection"),
    row("imagesTr/0.png", "How much is lost?", "21.67%", "Regression"),
    row("imagesTr/1.png", "Describe.", "Nothing.", "Report Generation"),
]


def unanswered(record: dict) -> dict:
    return record | {"Answer": None, "ImageName": record["ImageName"].replace("Tr", "Ts")}


@pytest.fixture(scope="module")
def conversions(tmp_path_factory):
    """The hidden rows converted beside the training rows, and alone; what was learned in the first case."""
    place = tmp_path_factory.mktemp("formats")
    images = {name.replace("Tr", "Ts"): data for name, data in pngs(4).items()}
    hidden = [unanswered(record) for record in TRAINING] + [row("imagesTs/2.png", BOXES, None, "Detection")]
    write_subset(place / "whole", TRAINING, pngs(2))
    write_subset(place / "whole", hidden, images, folder="testing")
    write_subset(place / "whole", hidden[-1:], images, folder="testing", name="unknown")
    shutil.copytree(place / "whole/testing", place / "alone/testing")
    results = []
    for name in ("whole", "alone"):
        (place / name / "work").mkdir()
        results.append(converted(place / name, place / name / "work", no_answer="keep"))
    whole, alone = results
    write_rows(place / "conventions.parquet", whole.conventions, Convention)
    write_rows(place / "alone.parquet", alone.rows, Row)
    return place, [entry for entry in whole.rows if entry.folder == "testing"], alone.rows


def test_rows_converted_alone_are_those_of_the_workflow_after_it(conversions):
    place, whole, alone = conversions
    said = write_formats(
        rows=place / "alone.parquet", conventions=place / "conventions.parquet", out=place / "out.parquet"
    )
    assert len(whole) == 9 and alone != whole  # what training rows teach is missing
    assert read_rows(place / "out.parquet", Row) == whole
    assert said == "formats: 9 rows"


def test_what_would_be_missed_is_what_only_answers_show(conversions):
    _, whole, alone = conversions
    changed = {after.task for before, after in zip(alone, whole, strict=True) if before != after}
    assert changed >= {"classification", "multi_label", "regression"}


def test_a_task_that_has_no_conventions_is_not_called_unknown(conversions):
    place, whole, _ = conversions
    assert "report" in {entry.task for entry in whole}
    assert "report" not in {entry.task for entry in read_rows(place / "conventions.parquet", Convention)}


def test_a_subset_that_is_not_known_is_named_and_stays_as_it_was(conversions):
    place, _, alone = conversions
    known = [entry for entry in read_rows(place / "conventions.parquet", Convention) if entry.subset == "ds"]
    write_rows(place / "known.parquet", known, Convention)
    said = write_formats(rows=place / "alone.parquet", conventions=place / "known.parquet", out=place / "o.parquet")
    assert said == "formats: 9 rows; nothing is known of how unknown writes answers"
    [last] = [entry for entry in read_rows(place / "o.parquet", Row) if entry.subset == "unknown"]
    assert last in alone
