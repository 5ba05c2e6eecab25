"""Inference, similarity and answers from a text: the shipped configuration plans, and reads the layouts it names."""

import csv
import io
import json
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter

from tests.data.roots import converted
from tests.encoders.tiny import write_encoder
from tests.workflow.runs import ROOT, checkout, planned, refused, snakemake
from workflow_scripts.core.config.datasets import Dataset
from workflow_scripts.core.rows import MetricValue, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.data.sources.folder import write_folder
from workflow_scripts.data.sources.table import records

pytestmark = pytest.mark.workflow

SHIPPED = ("--configfile", "config/clinical-pairs.yaml")
SIGNS = ("fever", "cough", "a rash", "a headache", "leg swelling", "nausea")
TASKS = {"inference": "entailment", "similarity": "similarity", "reading": "span_qa"}


def lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def mednli(first: int, count: int) -> str:
    """Premises with three hypotheses each, with the columns of MedNLI that are not read."""
    rows = []
    for number in range(first, first + count):
        sign, other = SIGNS[number % 6], SIGNS[(number + 1) % 6]
        for label, hypothesis in (
            ("entailment", f"The patient has {sign}."),
            ("neutral", f"The patient has {other}."),
            ("contradiction", f"The patient has never had {sign}."),
        ):
            rows.append(
                {
                    "sentence1": f"Patient {number} came with {sign} for {number + 2} days.",
                    "pairID": f"pair-{number}-{label}",
                    "sentence1_parse": "(ROOT)",
                    "sentence2": hypothesis,
                    "gold_label": label,
                }
            )
    return lines(rows)


def sts(first: int, count: int) -> str:
    """A table of pairs."""
    stream = io.StringIO()
    table = csv.writer(stream, delimiter="\t", lineterminator="\n")
    table.writerow(["sentence1", "sentence2", "score"])
    for number in range(first, first + count):
        table.writerow([f"She denies {SIGNS[number % 6]}, {number} times.", f"No {SIGNS[number % 6]}.", number % 6])
    return stream.getvalue()


def emrqa(first: int, count: int) -> str:
    """Two questions a note; every fifth note does not answer its second one."""
    rows = []
    for number in range(first, first + count):
        context = f"Note {number}. Aspirin {number + 80} mg was given for {SIGNS[number % 6]}."
        reason = {"text": [SIGNS[number % 6]], "answer_start": [context.index(SIGNS[number % 6])]}
        dose = f"{number + 80} mg"
        for place, (question, answers) in enumerate(
            [
                ("Which dose of aspirin?", {"text": [dose], "answer_start": [context.index(dose)]}),
                ("Why?", {"text": [], "answer_start": []} if number % 5 == 1 else reason),
            ]
        ):
            given = {"id": f"n{number}-{place}", "title": "medication", "context": context}
            rows.append(given | {"question": question, "answers": answers})
    return lines(rows)


def lay_out(folder: Path, training: int = 12, testing: int = 5) -> None:
    """The three sets below a folder."""
    for name, text in {
        "mednli/mli_train_v1.jsonl": mednli(0, training),
        "mednli/mli_dev_v1.jsonl": mednli(60, 2),
        "mednli/mli_test_v1.jsonl": mednli(70, testing),
        "sts/train.tsv": sts(0, training),
        "sts/test.tsv": sts(70, testing),
        "emrqa/train.jsonl": emrqa(0, training),
        "emrqa/test.jsonl": emrqa(70, testing),
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A checkout with imitations of the sets, and a tiny encoder of GatorTron's class in the place of GatorTron."""
    folder = checkout(tmp_path_factory.mktemp("clinical-pairs"))
    lay_out(folder / "clinical-pairs")
    texts = [file.read_text() for file in sorted((folder / "clinical-pairs").rglob("*.*"))]
    write_encoder(folder / "checkpoints/gatortron-base", texts, "megatron-bert", 128)
    return folder


def test_the_shipped_configuration_plans_three_tasks_for_one_encoder(folder):
    plan = planned(folder, *SHIPPED)
    assert plan["data_prepare"] == 3 and plan["data_join"] == 1 and plan["models_fetch"] == 1
    assert plan["encoders_train"] == 1 and plan["encoders_answer"] == 3 and plan["infer_baseline"] == 6
    assert "train_tune" not in plan and "features_extract" not in plan


def test_a_set_that_is_not_there_is_one_sentence(folder):
    raw = yaml.safe_load((ROOT / SHIPPED[1]).read_text())
    raw["datasets"]["reading"]["path"] = "clinical-pairs/nowhere"
    (folder / "config/absent.yaml").write_text(yaml.safe_dump(raw))
    said = refused(folder, "-n", "--configfile", "config/absent.yaml")
    assert "datasets.reading.path: clinical-pairs/nowhere does not exist; give the folder or the file" in said


@pytest.mark.parametrize("name", TASKS)
def test_each_layout_becomes_rows_of_its_task_and_nothing_is_left_out(name, tmp_path):
    lay_out(tmp_path)
    entry = yaml.safe_load((ROOT / SHIPPED[1]).read_text())["datasets"][name]
    path = tmp_path / Path(entry["path"]).name
    spec = TypeAdapter(Dataset).validate_python(entry | {"path": str(path)})
    write_folder(records(spec, path, 1), tmp_path / "root", {"source": spec.source})
    (tmp_path / "work").mkdir()
    result = converted(tmp_path / "root", tmp_path / "work")
    assert result.quarantine == [] and {row.task for row in result.rows} == {TASKS[name]}
    assert not any(row.images for row in result.rows)
    rows = {"inference": 3 * 19, "similarity": 17, "reading": 2 * 17}[name]
    cases = {"inference": 19, "similarity": 17, "reading": 17}[name]  # of one premise, or of one note
    assert (len(result.rows), len({row.case_id for row in result.rows})) == (rows, cases)
    if name == "reading":
        assert [row.answer for row in result.rows].count("unanswerable") == 4


@pytest.mark.extended
def test_the_configuration_runs_to_tables_with_a_tiny_encoder(folder):
    raw = yaml.safe_load((ROOT / SHIPPED[1]).read_text())
    raw["systems"]["gatortron"]["encoder"] |= {"gpus": 0, "length": 128, "stride": 32}
    raw["systems"]["gatortron"]["tuning"] = {"epochs": 1, "learning_rate": 1e-3}
    (folder / "config/tiny.yaml").write_text(yaml.safe_dump(raw | {"scoring": {"resamples": 100}}, sort_keys=False))
    arguments = ("--configfile", "config/tiny.yaml")
    tables = [f"results/clinical-pairs/report/{split}/table.md" for split in TASKS]
    snakemake(folder, *tables, *arguments)
    for split, task in TASKS.items():
        assert {row.task for row in read_rows(folder / f"results/clinical-pairs/splits/{split}/rows.parquet", Row)} == {
            task
        }
        values = read_rows(folder / f"results/clinical-pairs/scores/{split}/metrics.parquet", MetricValue)
        shown = {(value.system, value.metric) for value in values if value.primary}
        assert {system for system, _ in shown} == {*raw["systems"]} and len({metric for _, metric in shown}) == 1
    assert planned(folder, *tables, *arguments) == {}
