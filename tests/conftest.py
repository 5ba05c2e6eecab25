"""Fixtures that tests of several packages share: a tiny untrained model, and a few rows with images."""

import builtins
import gc
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import ExpectedFormat, Image, Row
from workflow_scripts.core.tables import write_rows
from workflow_scripts.synthetic.drawing import Mark, canvas, draw_mark

# What a property takes tells of the machine and of what runs beside, and not of the property.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

ROOT = Path(__file__).resolve().parents[1]
LONG = (
    "workflow/test_finished_run.py",
    "data/test_download.py",
    "infer/test_kills.py",
    "workflow/test_plan.py",
    "workflow/test_tables.py",
    "workflow/test_signals.py",
    "workflow/test_rubrics.py",
    "workflow/test_server.py",
    "workflow/test_clinical_text.py",
    "workflow/test_dicom.py",
    "train/test_tune.py",
    "engines/test_decoding.py",
    "engines/test_shared_prompts.py",
    "data/test_sft.py",
    "core/test_extending.py",
    "browser/test_groups_page.py",
    "workflow/test_sweeps.py",
    "data/test_plans.py",
    "workflow/test_router.py",
    "engines/test_constraint.py",
    "data/test_archives.py",
    "infer/test_ask.py",
    "infer/test_server_faults.py",
    "browser/test_audit_page.py",
    "browser/test_report_hostile.py",
    "browser/test_report_cases.py",
    "infer/test_grammars.py",
    "cache/test_folders.py",
    "submit/test_container.py",
    "report/test_figures.py",
)
"""Files that take longest: they begin first, so that at the end no process works alone."""
VQA = {
    *("open_vqa", "closed_vqa", "free_response", "entities", "relations", "entailment", "similarity", "span_qa"),
    *("probability", "clinical_decision"),
}
"""Tasks that FLARE does not hold: the toy dataset has no rows of them."""


def pytest_collection_modifyitems(items):
    """Put the files that take longest first; `--no-loadscope-reorder` has xdist give them out in that order."""
    places = {ROOT / "tests" / name: place for place, name in enumerate(LONG)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@pytest.hookimpl(wrapper=True)
def pytest_collection(session):
    """Leave what is imported, a million objects, out of each search for garbage: one takes half a second with them."""
    gc.disable()
    result = yield
    gc.collect()
    gc.freeze()
    gc.enable()
    return result


@pytest.fixture
def no_question(monkeypatch):
    """Whatever asks a question at the terminal fails."""
    monkeypatch.setattr(builtins, "input", lambda *words: pytest.fail(f"a question at the terminal: {words}"))


@pytest.fixture
def start(monkeypatch, capsys, no_question):
    """A function that runs a step with flags in this process, as its command does: exit code and what it printed."""
    from workflow_scripts.core.command import run_step

    def run(step, *flags):
        monkeypatch.setattr(sys, "argv", ["step", *map(str, flags)])
        code = 0
        try:
            run_step(step)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
            print("" if isinstance(end.code, int) else end.code)
        return code, "".join(capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    """The record of an untrained tiny model."""
    from workflow_scripts.models.record import write_record
    from workflow_scripts.synthetic.pretraining import build_model, build_processor

    folder = tmp_path_factory.mktemp("models") / "tiny"
    processor = build_processor(vocabulary=600, seed=0)
    build_model(processor, width=64, layers=2, seed=0).save_pretrained(folder)
    processor.save_pretrained(folder)
    record = folder.with_suffix(".json")
    write_record(record, "tiny", "gemma3", folder, None)
    return record


@pytest.fixture(scope="session")
def root(tmp_path_factory) -> Path:
    """A folder with eight images of 112 × 96 pixels."""
    folder = tmp_path_factory.mktemp("root")
    rng = np.random.default_rng(0)
    for number in range(8):
        image = canvas(rng, 112, 96, (10 * number, 0, 20))
        draw_mark(image, Mark("disc", "red", (5 + 5 * number, 10, 40 + 5 * number, 50)))
        image.save(folder / f"{number}.png")
    return folder


def make_row(root: Path, number: int, /, **changes) -> Row:
    """A row of a split; every second one shows two images."""
    shown = [number % 8] if number % 2 else [number % 8, (number + 1) % 8]
    row = Row(
        uid=f"row/{number}",
        subset="marks",
        modality="Xray",
        folder="training",
        task="counting",
        task_raw="Counting",
        case_id=f"case-{number}",
        question="What is the number of cells in this image?" if number % 3 else "How many?",
        expected=ExpectedFormat(),
        images=tuple(Image(f"{i}.png", sha256_of_file(root / f"{i}.png"), 112, 96) for i in shown),
        image_name=json.dumps([f"{i}.png" for i in shown]),
        answer=str(number),
        answer_raw=str(number),
        number=float(number),
        source_file="questions.json",
        source_row=number,
    )
    return replace(row, **changes)


@pytest.fixture(scope="session")
def split(root, tmp_path_factory) -> Path:
    """A split of eight rows with one or two images each."""
    path = tmp_path_factory.mktemp("split") / "rows.parquet"
    write_rows(path, [make_row(root, number) for number in range(8)], Row)
    return path


@pytest.fixture(scope="session")
def features(split, root, tiny, tmp_path_factory) -> Path:
    """The index of the split's vision features."""
    from workflow_scripts.features.extract import extract

    index = tmp_path_factory.mktemp("features") / "index.parquet"
    extract(split=split, root=root, model=tiny, index=index, batch=3, threads=1, store=index.parent / "store")
    return index
