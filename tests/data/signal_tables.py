"""Tables of signals for tests, and their preparation and conversion in this process."""

import csv
import io
import json
import wave as wave_files
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pydicom
from pydicom.data import get_testdata_file

from tests.data.roots import converted
from tests.data.tables import Table
from workflow_scripts.core.manifest import read_manifest
from workflow_scripts.data.prepare import Source, prepare

INTERVALS = {"values": "ibi", "name": "Sinus", "unit": "ms"}
"""Intervals between beats in a column."""


def signals(**keys: object) -> Source:
    """A `signals` entry."""
    return Source.model_validate({"source": "signals", "path": "here", "task": "classification", **keys})


def signals_of(place: Path, source: Path, **keys: object) -> Table:
    """Prepare and convert the signals at `source`, working in `place`."""
    place.mkdir(parents=True, exist_ok=True)
    spec = signals(**{"path": str(source), **keys})
    summary = prepare(
        spec=spec, source=source, out=place / "root", manifest=place / "m.json", name="mine", seen=place / "seen.json"
    )
    result = converted(place / "root", place)
    assert read_manifest(place / "m.json") == read_manifest(place / "manifest.json")
    assert len(result.rows) + len(result.quarantine) == int(summary.split()[1])
    return Table(summary, result, place / "root")


def table(folder: Path, rows: list[Mapping[str, object]], name: str = "rows.jsonl") -> Path:
    """Write a table of JSON lines; the folder that holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return folder


def case_row(number: int = 0, **more: object) -> dict[str, object]:
    """A row with a question that lists its answers."""
    question = f"Rhythm {number}? Choose from: Atrial Fibrillation; Normal."
    return {"question": question, "answer": "Normal", "split": "training", **more}


def wave(hz: float, seconds: float, frequency: float = 1.2) -> np.ndarray:
    """A sine of so many values a second."""
    return np.sin(2 * np.pi * frequency * np.arange(round(hz * seconds)) / hz)


def written(folder: Path, files: Mapping[str, bytes | str]) -> Path:
    """Write files below a folder; the folder."""
    for name, content in files.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def comma_separated(rows: list[Mapping[str, object]]) -> str:
    """A table as CSV."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, rows[0].keys())
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def wav(hz: int, values: np.ndarray, width: int = 2) -> bytes:
    """A WAV file of whole numbers of `width` bytes."""
    stream = io.BytesIO()
    with wave_files.open(stream, "wb") as file:
        file.setnchannels(1 if values.ndim == 1 else values.shape[1])
        file.setsampwidth(width)
        file.setframerate(hz)
        file.writeframes(values.astype(f"<i{width}" if width > 1 else "u1").tobytes())
    return stream.getvalue()


SPLITS = ("training",) * 8 + ("testing",) * 4
"""Of the rows of each layout below."""


def interbeat_layout() -> dict[str, str]:
    """Intervals between beats: even ones are normal, others fibrillate."""
    lines = []
    for number, split in enumerate(SPLITS):
        fibrillates = number % 2 == 1
        spread = 200 if fibrillates else 15
        values = (850 + np.random.default_rng(number).normal(0, spread, 30)).round().tolist()
        rhythm = "Atrial Fibrillation" if fibrillates else "Normal"
        lines.append({"intervals": values, "rhythm": rhythm, "record": f"r{number}", "split": split})
    return {"intervals.jsonl": "\n".join(map(json.dumps, lines))}


def pulse_layout() -> dict[str, str]:
    """Pulse waves of 60 to 115 beats a minute, 20 s each, as CSV files, and the window to show."""
    windows, files = [], {}
    for number, split in enumerate(SPLITS):
        bpm = 60 + 5 * number
        values = 512 + 60 * wave(100, 20, bpm / 60)
        files[f"p{number}.csv"] = "ppg\n" + "\n".join(f"{value:.0f}" for value in values)
        window = {"file": f"p{number}.csv", "start": 2, "stop": 10, "hz": 100, "bpm": bpm, "split": split}
        windows.append(window)
    return files | {"windows.csv": comma_separated(windows)}


def ecg_layout() -> dict[str, bytes | str]:
    """The ECG of pydicom, of twelve patients whose leads differ by a factor."""
    rhythms, files = [], {}
    for number, split in enumerate(SPLITS):
        dataset = pydicom.dcmread(str(get_testdata_file("waveform_ecg.dcm")))
        dataset.PatientID = f"patient-{number}"
        for channel in dataset.WaveformSequence[0].ChannelDefinitionSequence:
            channel.ChannelSensitivity = f"{1.25 * (1 + number / 50):.4f}"
        stream = io.BytesIO()
        dataset.save_as(stream)
        files[f"e{number}.dcm"] = stream.getvalue()
        rhythm = "Sinus rhythm" if number % 2 else "Paced rhythm"
        rhythms.append({"file": f"e{number}.dcm", "rhythm": rhythm, "split": split})
    return files | {"rhythms.csv": comma_separated(rhythms)}


def icbhi_layout() -> dict[str, bytes | str]:
    """Breathing sounds of ICBHI 2017's names: two cycles of noise each, crackles as clicks, wheezes as a tone."""
    cycles: list[dict[str, object]] = []
    files: dict[str, bytes | str] = {}
    for number, split in enumerate(SPLITS[::2] + SPLITS[1::2][-1:]):
        name = f"{101 + number}_1b1_Al_sc_Meditron"
        noise = np.random.default_rng(number).normal(0, 800, 4000 * 4)
        tone = 3000 * wave(4000, 4, 300.0) * (number % 2)
        files[f"ICBHI_final_database/{name}.wav"] = wav(4000, (noise + tone).astype(int))
        of_split = "train" if split == "training" else "test"
        for start in (0.1, 2.0):
            end = start + 1.8
            flags = {"crackles": int(start > 1), "wheezes": number % 2}
            cycles.append({"recording": name, "start": start, "end": end, **flags, "split": of_split})
    return files | {"cycles.csv": comma_separated(cycles)}


def heart_layout() -> dict[str, bytes | str]:
    """Heart sounds of the challenge of 2016's names: two sounds a second, and a murmur of the abnormal ones."""
    rows, files = [], {}
    for number, split in enumerate(SPLITS):
        beats = wave(2000, 16, 60.0 + number) * (np.arange(32_000) % 1000 < 120)
        murmur = 0.3 * wave(2000, 16, 170.0) * (number % 2)
        files[f"training-a/a{number:04d}.wav"] = wav(2000, (12_000 * (beats + murmur)).astype(int))
        label = 1 if number % 2 else -1
        rows.append({"record": f"training-a/a{number:04d}", "label": label, "split": split})
    return files | {"labels.csv": comma_separated(rows)}


def wearable_layout(quantity: str) -> dict[str, str]:
    """Health-LLM's lists of instruction, input and output: of activities, or of calories."""
    files = {}
    for name, count in (("train_all", 8), ("eval", 4)):
        rows = []
        for number in range(count):
            given = f"The recent sensor readings show: [Steps]: {number * 7 + 1.0:.2f} steps"
            output = (
                f'The predicted activity type is "{("Sitting", "Running 3 METs")[number % 2]}"'
                if quantity == "activity"
                else f"The predicted calorie burn is {12.5 + number}."
            )
            rows.append(
                {"instruction": f"You predict the {quantity}.", "input": f"{given}; {quantity}?", "output": output}
            )
        files[f"{quantity}_{name}.json"] = json.dumps(rows)
    return files
