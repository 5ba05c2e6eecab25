"""Presets of signals on imitated files of their layouts."""

import io

import numpy as np
import PIL.Image
import pytest
from pydantic import ValidationError

from tests.data.signal_tables import (
    heart_layout,
    icbhi_layout,
    interbeat_layout,
    signals,
    signals_of,
    wearable_layout,
    written,
)
from tests.data.tables import table_of
from workflow_scripts.core.config.sources.presets import SIGNAL_PRESETS
from workflow_scripts.core.config.sources.series import SignalsDataset
from workflow_scripts.core.config.sources.table import TableDataset


def entries(preset, place, source, **keys):
    """The rows of a preset on files of its layout."""
    return signals_of(place, source, preset=preset, **({"task": "classification"} | keys))


@pytest.mark.parametrize("preset", SIGNAL_PRESETS)
def test_a_preset_is_a_valid_entry_in_one_line(preset):
    assert SignalsDataset(preset=preset, path="somewhere").series
    with pytest.raises(ValidationError, match="preset"):
        TableDataset.model_validate({"source": "table", "preset": preset, "path": "somewhere"})


def test_intervals_between_beats_are_classified(tmp_path):
    done = entries("interbeat-af", tmp_path / "work", written(tmp_path / "lab", interbeat_layout()))
    assert not done.faults and len(done.result.rows) == 12
    rows = {row.folder: row for row in done.result.rows}
    row = rows["training"]
    assert row.question.startswith("Question: Classify the given interbeat interval sequence in ms.")
    assert row.question.count(",") == 29 and row.question.splitlines()[1].startswith("Sinus: ")
    assert row.question.endswith("\nAnswer:") and row.expected.labels == ("Atrial Fibrillation", "Normal")
    assert row.case_id == "/case/r7" and row.subset == "interbeat intervals"


def test_breathing_cycles_are_spectrograms_with_labels(tmp_path):
    done = entries("icbhi-cycles", tmp_path / "work", written(tmp_path / "lab", icbhi_layout()))
    assert not done.faults
    assert {row.folder for row in done.result.rows} == {"training", "testing"}
    assert {row.labels for row in done.result.rows} == {(), ("Crackles",), ("Wheezes",), ("Crackles", "Wheezes")}
    assert done.result.rows[0].case_id.startswith("/case/10") and len(done.result.rows[0].images) == 1


def test_heart_sounds_are_normal_or_abnormal(tmp_path):
    done = entries("heart-sounds-2016", tmp_path / "work", written(tmp_path / "lab", heart_layout()))
    assert not done.faults
    assert {row.answer for row in done.result.rows} == {"Normal", "Abnormal"}
    files = sorted((done.root / "training/Auscultation/heart sounds/images").iterdir())
    image = np.asarray(PIL.Image.open(io.BytesIO(files[0].read_bytes())).convert("L"))
    assert image.shape == (448 + 66, 896 + 72) and len(files) == 8


def test_activities_of_wearables_are_the_ends_of_sentences(tmp_path):
    done = table_of(
        tmp_path / "work", written(tmp_path / "lab", wearable_layout("activity")), preset="wearable-activity"
    )
    assert not done.faults
    assert {row.answer for row in done.result.rows} == {"Sitting", "Running 3 METs"}
    assert [row.folder for row in done.result.rows] == ["testing"] * 4 + ["training"] * 8
    assert done.row().images == () and len(done.row().expected.labels) == 6


def test_levels_of_wearables_are_the_numbers_that_end_sentences(tmp_path):
    source = written(tmp_path / "lab", wearable_layout("calories"))
    done = table_of(tmp_path / "work", source, preset="wearable-level", subset="calories")
    assert not done.faults
    assert [row.number for row in done.result.rows[:4]] == [12.5, 13.5, 14.5, 15.5]


def test_what_is_set_beside_a_preset_goes_first():
    spec = signals(preset="interbeat-af", rendering="plot").root
    assert (spec.rendering.form, spec.series[0].name.constant()) == ("plot", "Sinus")
