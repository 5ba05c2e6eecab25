"""Questions in text alone, zero-shot, few-shot, sampled and tuned, from a table to a page; and what the plan says."""

import json

import pytest
import yaml

from tests.workflow.runs import checkout, planned, refused, snakemake
from workflow_scripts.core.rows import Outcome, Prediction, Row
from workflow_scripts.core.tables import read_rows

pytestmark = pytest.mark.workflow
RESULTS = "results/notes"


def notes() -> str:
    """JSON Lines: forty patients to learn from, ten to ask about, two questions each."""
    lines = []
    for patient in range(50):
        rate = 50 + patient
        shared = {"patient": f"p{patient}", "split": "training" if patient < 40 else "testing"}
        fast = f"The pulse of {patient} is {rate} a minute. Is it fast?"
        lines.append({**shared, "task": "closed vqa", "question": fast, "answer": "yes" if rate > 80 else "no"})
        words = f"How many words has the note of {patient}: {'pain ' * (patient % 5 + 1)}?"
        lines.append({**shared, "task": "counting", "question": words, "answer": str(patient % 5 + 1)})
    return "\n".join(map(json.dumps, lines))


CONFIGURATION = {
    "results": RESULTS,
    "datasets": {
        "notes": {
            "source": "table",
            "path": "lab/notes.jsonl",
            "images": [],
            "case": {"column": "patient"},
            "split": {"column": "split"},
            "task": {"column": "task"},
        }
    },
    "splits": {"train": {"dataset": "notes", "folder": "training"}, "test": {"dataset": "notes", "folder": "testing"}},
    "models": {"tiny": {"source": "synthetic"}},
    "recipes": {"qlora": {"learning_rate": 2e-3, "epochs": None, "steps": 4, "batch": 4, "micro_batch": 4}},
    "systems": {
        "zero": {"model": "tiny"},
        "few": {"model": "tiny", "train": "train", "shots": 3},
        "many": {
            "model": "tiny",
            "shots": {"count": 2, "train": "train", "by": "task", "balance": True},
            "samples": {"draws": 4, "temperature": 1.0},
        },
        "tuned": {"model": "tiny", "recipe": "qlora", "train": "train"},
        "majority": {"baseline": "majority", "train": "train"},
    },
    "evaluate": ["test"],
    "inference": {"shards": 1, "max_new_tokens": {"closed_vqa": 4, "counting": 4}},
    "scoring": {"resamples": 100},
    "report": {"cases": 4},
}


def write(folder, name, **changes):
    """The configuration with other systems; the arguments that name it."""
    raw = CONFIGURATION | changes
    (folder / f"config/{name}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return "--configfile", f"config/{name}.yaml"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = checkout(tmp_path_factory.mktemp("shots"))
    (folder / "lab").mkdir()
    (folder / "lab/notes.jsonl").write_text(notes())
    return folder


def test_the_plan_says_what_stands_before_questions_and_how_often_they_are_answered(folder):
    output = snakemake(folder, "-n", *write(folder, "notes"))
    assert "Answering test with few, shard 1-of-1, stored features, 3 shots of train [" in output
    assert "Answering test with many, shard 1-of-1, stored features, 2 shots of train, 4 answers a row [" in output
    assert "Answering test with zero, shard 1-of-1, stored features [" in output
    plan = planned(folder, *write(folder, "notes"))
    assert (plan["infer_shots"], plan["features_extract_shots"]) == (2, 2)
    assert (plan["infer_answer"], plan["infer_gather"], plan["infer_consensus"]) == (4, 3, 1)


def test_only_shots_need_the_training_split(folder):
    systems = {"zero": {"model": "tiny"}, "many": {"model": "tiny", "samples": {"draws": 4}}}
    plan = snakemake(folder, "-n", *write(folder, "zero", systems=systems))
    assert "Drawing the shots" not in plan and "splits/train" not in plan
    text = {"source": "hub", "family": "text", "checkpoint": "lab/text", "revision": "0" * 40, "gated": False}
    systems = {"few": {"model": "text", "train": "train", "shots": 2}}
    plan = planned(folder, *write(folder, "text", systems=systems, models={"text": text}))
    assert plan["infer_shots"] == 1 and "features_extract_shots" not in plan and "train_tune" not in plan


def test_a_server_is_sent_the_shots_of_the_training_split(folder):
    engines = {"here": {"url": "http://127.0.0.1:9/v1"}}
    few = {"model": "tiny", "train": "train", "shots": 2, "samples": {"draws": 3}, "engine": "here", "served_as": "m"}
    output = snakemake(folder, "-n", "-p", *write(folder, "served", systems={"few": few}, engines=engines))
    assert "Asking a server for few's answers to test, shard 1-of-1, 2 shots of train, 3 answers a row [" in output
    (command,) = [line for line in output.splitlines() if "workflow_scripts.infer.ask" in line]
    assert f'"rows":"{RESULTS}/shots/test/few.parquet"' in command and '--samples \'{"draws":3,' in command


def test_a_system_without_a_split_for_its_shots_is_one_sentence(folder):
    output = refused(folder, "-n", *write(folder, "none", systems={"few": {"model": "tiny", "shots": 2}}))
    assert "shots: name the split that they are drawn from" in output


@pytest.mark.extended
def test_text_rows_go_from_a_table_to_a_page_with_all_of_them(folder):
    arguments = write(folder, "notes")
    snakemake(folder, *arguments)
    assert planned(folder, *arguments) == {}
    results = folder / RESULTS
    rows = read_rows(results / "splits/test/rows.parquet", Row)
    assert len(rows) == 20 and not any(row.images for row in rows)
    cases = {row.case_id for row in rows}
    for system, count in (("few", 6), ("many", 4)):
        shots = read_rows(results / f"shots/test/{system}.parquet", Row)
        assert len(shots) == count and cases.isdisjoint(row.case_id for row in shots)
    zero, few = (read_rows(results / f"predictions/test/{name}.parquet", Prediction) for name in ("zero", "few"))
    assert all(one.prompt_tokens < other.prompt_tokens for one, other in zip(zero, few, strict=True))
    many = read_rows(results / "predictions/test/many.parquet", Prediction)
    assert all(len(row.samples) == 4 and row.text in row.samples for row in many)
    outcomes = read_rows(results / "scores/test/many/outcomes.parquet", Outcome)
    assert all(len(json.loads(row.samples)) == 4 and 0 <= row.consistency <= 1 for row in outcomes)
    methods = (results / "report/test/methods.md").read_text()
    assert "shown 3 answered rows of `train` before each question" in methods
    assert "`many` answered each row 4 times at temperature 1;" in methods
    table = (results / "report/test/table.csv").read_text()
    assert all(name in table for name in ("zero", "few", "many", "tuned", "majority"))
    log = (results / "logs/features_extract/tiny.test.log").read_text()
    assert "vision features of 0 images" in log
    snakemake(
        folder, *write(folder, "notes", systems=CONFIGURATION["systems"] | {"again": CONFIGURATION["systems"]["few"]})
    )
    assert "20 cached, 0 to generate" in (results / "logs/infer_answer/test.again.1-of-1.log").read_text()
