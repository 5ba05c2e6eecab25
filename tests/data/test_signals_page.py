"""The how-to on signals: its entries, its tables and its script do what the page says."""

import csv
import io
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from pydicom.data import get_testdata_file

from tests.data.signal_tables import signals_of, wav, wave, written
from workflow_scripts import ROOT
from workflow_scripts.cache.pseudonyms import ENVIRONMENT
from workflow_scripts.core.config.sources.presets import SIGNAL_PRESETS
from workflow_scripts.core.config.sources.series import SeriesColumns, SeriesPlot, SeriesSpectrogram, SeriesText
from workflow_scripts.data.signals.series import UNITS

PAGE = (ROOT / "docs/howto/signals.md").read_text(encoding="utf-8")
EXAMPLES = {
    title: (next(iter(yaml.safe_load(entry)["datasets"].values())), form, rows)
    for title, entry, form, rows in re.findall(
        r"^### (.+?)\n\n```yaml\n(datasets:.+?)```\n\n```(json|text)\n(.+?)```", PAGE, re.DOTALL | re.MULTILINE
    )
}
"""An entry, and its table, by what it is about."""

SERIES_IN_QUESTIONS = {
    "Values in the table": ["Sinus: 896,1192,592,1024,1072"],
    "Objects {name, unit, hz, values}": ["PPG (au, 25 values a second): 512.00,518.00,530.00"],
    "CSV files": ["PPG (au, 50 values a second): 51"],
}
"""The beginning of lines of the first question, where signals are text."""


def recordings() -> dict[str, bytes]:
    """The files that the tables of the page name."""
    times = np.arange(1000) / 100
    lines = "\n".join(f"{1000 * t:g},{512 + 60 * np.sin(7 * t):.3f}" for t in times)
    archive = io.BytesIO()
    np.savez(archive, t=times, ecg=wave(100, 10))
    record = json.loads((Path(__file__).parent / "signals/wfdb.json").read_text())["records"]["16"]
    return {
        "r16.hea": record["header"].encode(),
        "r16.dat": bytes.fromhex(record["data"]),
        "raw/subject1.csv": f"timer,ppg\n{lines}\n".encode(),
        "a1.npz": archive.getvalue(),
        "s1.wav": wav(4000, (9000 * wave(4000, 3, 250.0)).astype(int)),
    }


@pytest.mark.parametrize("title", EXAMPLES)
def test_an_entry_of_the_page_reads_its_table(tmp_path, monkeypatch, title):
    monkeypatch.setenv(ENVIRONMENT, "0123456789abcdef-of-tests")
    entry, form, rows = EXAMPLES[title]
    source = written(tmp_path / entry["path"], recordings() | {f"rows.{'jsonl' if form == 'json' else 'csv'}": rows})
    shutil.copy(str(get_testdata_file("waveform_ecg.dcm")), source / "e1.dcm")
    keys = {key: value for key, value in entry.items() if key != "source"} | {"path": str(source)}
    done = signals_of(tmp_path / "work", source, **keys)
    assert not done.faults and len(done.result.rows) == len(rows.strip().splitlines()) - (form == "text")
    row = done.row()
    lines = row.question.splitlines()
    for start in SERIES_IN_QUESTIONS.get(title, []):
        assert any(line.startswith(start) for line in lines), lines
    assert bool(row.images) == (entry.get("rendering", {}).get("form", "text") != "text")


def test_the_page_shows_each_form_once():
    places = [
        next(key for key in ("values", "record", "file") if key in entry["series"]) for entry, _, _ in EXAMPLES.values()
    ]
    assert places == ["values", "record", *["file"] * 5]


def test_the_script_gathers_the_cycles_of_icbhi(tmp_path, monkeypatch):
    [script] = re.findall(r"```python\n(.+?)```", PAGE, re.DOTALL)
    name = "101_1b1_Al_sc_Meditron"
    files = {
        f"ICBHI_final_database/{name}.txt": "0.036\t0.579\t0\t1\n0.579\t2.45\t1\t0\n",
        "ICBHI_challenge_train_test.txt": f"{name}\ttest\n",
    }
    monkeypatch.chdir(written(tmp_path, files))
    exec(compile(script, "page", "exec"), {})  # noqa: S102
    with open("cycles.csv", newline="") as stream:  # noqa: PTH123
        rows = list(csv.DictReader(stream))
    assert [row["end"] for row in rows] == ["0.579", "2.45"]
    assert rows[1] == {
        "recording": name, "start": "0.579", "end": "2.45", "crackles": "1", "wheezes": "0", "split": "test"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("model", "word", "others"),
    [
        (SeriesColumns, "series", set()),
        (SeriesText, "rendering", {"form"}),
        (SeriesPlot, "rendering", {"form"}),
        (SeriesSpectrogram, "rendering", {"form"}),
    ],
)
def test_a_table_of_the_page_names_every_key(model, word, others):
    tables = re.findall(rf"^\| key of `{word}` \|.+?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    listed = [{*re.findall(r"`(\w+)`", "".join(re.findall(r"^\|(.+?)\|", table, re.MULTILINE)))} for table in tables]
    assert {*model.model_fields} - others in [keys - {word} for keys in listed]


def test_the_page_lists_every_unit_and_every_preset():
    listed = re.search(r"^Units: (.+?);", PAGE, re.DOTALL | re.MULTILINE)
    assert listed and re.findall(r"`([^`]+)`", listed[1]) == list(UNITS)
    presets = re.findall(r"^\| `([a-z0-9-]+)`", PAGE, re.MULTILINE)
    assert {*SIGNAL_PRESETS, "wearable-activity", "wearable-level"} <= {*presets}
