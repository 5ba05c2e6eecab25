"""Real signals and a real language model: pulse waves of heartpy and the ECG of pydicom, zero-shot and few-shot.

SmolLM2 has 135 million parameters and does not count beats well: these tests claim that every row is answered and
scored, from the recording to the table, and that shots are shown and never of a scored case, not who is right.
"""

import csv
import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydicom.data import get_testdata_file

from tests.data.signal_tables import comma_separated
from tests.real.checkpoint import INSTALL, absent_modules, converted
from tests.workflow.runs import checkout, planned, snakemake
from workflow_scripts.cache.pseudonyms import ENVIRONMENT
from workflow_scripts.core.rows import MetricValue, Outcome, Prediction, QuarantinedRow, Row
from workflow_scripts.core.tables import read_rows

pytestmark = [pytest.mark.workflow, pytest.mark.extended]

BEATS = json.loads((Path(__file__).parents[1] / "data/signals/heartpy.json").read_text())["recordings"]
"""Beats that heartpy 1.2.7 sees in its own recordings and in lead V5 of pydicom's ECG, in seconds."""

WINDOW = 8.0
"""Seconds that a row shows."""

SHOTS = 3
SYSTEMS = ("zero_shot", "few_shot", "majority")


def windows(recording: str, first: float, last: float, window: float, split: str) -> list[dict[str, object]]:
    """Windows of a recording in which heartpy sees two beats or more, with their number and the mean heart rate."""
    beats = np.array(BEATS[recording]["beats_s"])
    rows: list[dict[str, object]] = []
    for start in np.arange(first, last - window + 1e-6, window):
        inside = beats[(beats >= start) & (beats < start + window)]
        steps = np.diff(inside)
        if len(inside) > 1 and steps.max() < 1.6 * np.median(steps):  # heartpy left none out in between
            rate = 60 / float(steps.mean())
            rows.append(
                {"start": start, "stop": start + window, "beats": len(inside), "bpm": round(rate, 1), "split": split}
            )
    return rows


def pulse_windows() -> list[dict[str, object]]:
    """Of three recordings: one is scored, and the others are trained on."""
    parts = [("data", 0.0, 24.0, "training"), ("data3", 0.0, 200.0, "training"), ("data2", 44.0, 125.0, "testing")]
    rows = []
    for recording, first, last, split in parts:
        hz = BEATS[recording]["hz"]
        listed = windows(recording, first, last, WINDOW, split)
        rows += [{"file": f"{recording}.csv", "hz": hz, **row} for row in listed[: 10 if split == "training" else 3]]
    return rows


def ecg_windows() -> list[dict[str, object]]:
    """Two halves of lead V5, of which one patient's file is all there is."""
    return [{"file": "e.dcm", **row} for row in windows("ecg V5", 0.0, 10.0, 5.0, "testing")]


def configuration(checkpoint: Path) -> dict:
    """Counting beats and measuring rates of pulse waves and of an ECG, all as text."""
    pulse = {
        "source": "signals",
        "path": "pulse",
        "files": ["windows.csv"],
        "series": {
            "file": "{file}",
            "channels": ["hr"],
            "name": "PPG",
            "unit": "au",
            "hz": "hz",
            "start": "start",
            "stop": "stop",
        },
        "rendering": {"form": "text", "points": 60, "decimals": 0},
        "split": {"column": "split"},
        "modality": "PPG",
    }
    count = {"question": {"text": "How many heart beats does this signal show?"}, "answer": "beats", "task": "counting"}
    rate = {
        "question": {"text": "What is the mean heart rate in beats per minute?"},
        "answer": "bpm",
        "task": "regression",
    }
    lead = {"file": "{file}", "channels": ["ECG lead V5"], "start": "start", "stop": "stop"}
    ecg = pulse | count | {"path": "ecg", "series": lead, "modality": "ECG"}
    datasets = {"beats": pulse | count, "rates": pulse | rate, "ecg": ecg}
    model = {"source": "hub", "family": "text", "checkpoint": str(checkpoint), "gated": False, "gpus": 0}
    return {
        "results": "results",
        "datasets": datasets | {"all": {"source": "joined", "datasets": [*datasets]}},
        "splits": {
            "train": {"dataset": "all", "folder": "training"},
            "test": {"dataset": "all", "folder": "testing"},
        },
        "models": {"smollm2": model},
        "recipes": {},
        "systems": {
            "zero_shot": {"model": "smollm2"},
            "few_shot": {"model": "smollm2", "shots": {"count": SHOTS, "train": "train", "by": "task"}},
            "majority": {"baseline": "majority", "train": "train"},
        },
        "evaluate": ["test"],
        "inference": {"shards": 1, "max_new_tokens": {"counting": 8, "regression": 8}},
        "scoring": {"resamples": 100},
        "report": {"cases": 4},
    }


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run."""
    spec = importlib.util.find_spec("heartpy")  # its own code needs matplotlib, which is not installed
    if spec is None or spec.origin is None:
        pytest.skip(f"needs heartpy: {INSTALL}")
    if absent := absent_modules():
        pytest.skip(f"needs {', '.join(absent)}: {INSTALL}")
    folder = checkout(tmp_path_factory.mktemp("signals"))
    for name, rows in (("pulse", pulse_windows()), ("ecg", ecg_windows())):
        (folder / name).mkdir()
        (folder / name / "windows.csv").write_text(comma_separated(rows))
    recordings = Path(spec.origin).parent / "data"
    for name in ("data2.csv", "data3.csv"):
        shutil.copy(recordings / name, folder / "pulse" / name)
    (folder / "pulse/data.csv").write_text("hr\n" + (recordings / "data.csv").read_text())
    shutil.copy(str(get_testdata_file("waveform_ecg.dcm")), folder / "ecg/e.dcm")
    (folder / "config/real.yaml").write_text(yaml.safe_dump(configuration(converted()), sort_keys=False))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENVIRONMENT, "0123456789abcdef-of-tests")
        patch.setenv("OMP_WAIT_POLICY", "PASSIVE")
        snakemake(folder, *CONFIG)
        assert planned(folder, *CONFIG) == {}
    return folder / "results"


CONFIG = ("--configfile", "config/real.yaml")


def rows_of(done: Path, split: str) -> list[Row]:
    return read_rows(done / f"splits/{split}/rows.parquet", Row)


def test_the_references_are_heartpys_own_and_plausible():
    assert {name: round(entry["bpm"]) for name, entry in BEATS.items()} == {
        "data": 59, "data2": 62, "data3": 99, "ecg V5": 61,
    }  # fmt: skip
    rows = pulse_windows()
    assert len([row for row in rows if row["split"] == "testing"]) == 3
    assert all(45 < float(str(row["bpm"])) < 130 for row in rows)


def test_every_window_is_a_row_without_images_whose_question_holds_its_values(done):
    test = rows_of(done, "test")
    assert {row.modality for row in test} == {"PPG", "ECG"} and {row.task for row in test} == {"counting", "regression"}
    for row in test:
        assert row.images == ()
        [line] = [line for line in row.question.splitlines() if " values a second): " in line]
        values = [int(value) for value in line.rpartition(": ")[2].split(",")]
        assert 40 <= len(values) <= 60 and len({*values}) > 10
    assert not quarantine_of(done)


def quarantine_of(done: Path) -> list[str]:
    """Reasons of what was not used."""
    files = [done / f"data/{name}/quarantine.parquet" for name in ("beats", "rates", "ecg")]
    return [row.reason for file in files for row in read_rows(file, QuarantinedRow)]


def test_shots_are_training_rows_of_other_cases(done):
    test, train = rows_of(done, "test"), {row.uid: row for row in rows_of(done, "train")}
    shots = read_rows(done / "shots/test/few_shot.parquet", Row)
    assert len(shots) == SHOTS * 2 and {row.uid for row in shots} <= {*train}
    assert {row.case_id for row in shots}.isdisjoint(row.case_id for row in test)
    assert {"/case/data2"} < {row.case_id for row in test} and {row.case_id for row in shots} <= {
        "/case/data",
        "/case/data3",
    }


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_row_is_answered_and_scored_by_each_system(done, system):
    uids = [row.uid for row in rows_of(done, "test")]
    answers = read_rows(done / f"predictions/test/{system}.parquet", Prediction)
    assert [answer.uid for answer in answers] == uids
    assert len(read_rows(done / f"scores/test/{system}/outcomes.parquet", Outcome)) == len(uids)
    with (done / "report/test/table.csv").open(newline="") as lines:
        assert {line["system"] for line in csv.DictReader(lines)} == {*SYSTEMS}


def test_examples_show_the_model_what_an_answer_looks_like(done):
    """The one claim about the model: with three answered examples its answers are numbers."""
    values = read_rows(done / "scores/test/metrics.parquet", MetricValue)
    shares = {
        (value.system, value.task): value.valid_share
        for value in values
        if value.metric == "mae"
        and value.reading == "strict"
        and value.stratum is None
        and value.valid_share is not None
    }
    for task in ("counting", "regression"):
        assert shares["few_shot", task] >= shares["zero_shot", task]
        assert shares["few_shot", task] > 0.5
