"""Notes with annotations go from brat to a table by a tuned encoder; the page's example works as it is written."""

import json
import re
from importlib import import_module

import pytest
import yaml
from pydantic import TypeAdapter

from tests.data.roots import converted
from tests.encoders.tiny import write_encoder
from tests.workflow.runs import ROOT, checkout, planned, refused, snakemake
from workflow_scripts.core.config.datasets import Dataset
from workflow_scripts.core.rows import MetricValue, Prediction, Row
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.tasks import load_part
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.data.sources.folder import write_folder
from workflow_scripts.synthetic.notes import write_notes

pytestmark = pytest.mark.workflow

PAGE = (ROOT / "docs/howto/clinical-text.md").read_text()
CONFIG, RESULTS = ("--configfile", "config/clinical-text.yaml"), "results/clinical-text"
TARGETS = (f"{RESULTS}/report/test/table.md", f"{RESULTS}/report/test/figures")
ROWS = {
    "nli": {"premise": "No pain.", "hypothesis": "He is in pain.", "label": "contradiction", "patient": "p1"},
    "sts": {"first": "No pain.", "second": "He denies pain.", "score": 4.5},
    "reading": {
        "question": "Which dose?",
        "context": "Aspirin 81 mg.",
        "answers": {"text": ["81 mg"], "answer_start": [8]},
    },
}


def blocks():
    """The configurations of the page."""
    return [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", PAGE, re.S)]


def test_each_example_of_the_page_gives_rows_without_images_that_are_read(tmp_path):
    command = re.search(r"```sh\n(.*?)```", PAGE, re.S)
    assert command and "workflow_scripts.synthetic.notes --out notes" in command[1]
    write_notes(out=tmp_path / "notes", notes=3, held_out=2)
    for name, row in ROWS.items():
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(row) + "\n")
    answers = {}
    for name, entry in ((n, e) for block in blocks() for n, e in block.get("datasets", {}).items()):
        entry["path"] = str(tmp_path / entry["path"])
        spec = TypeAdapter(Dataset).validate_python(entry | {"subset": name})
        root = tmp_path / f"root-{name}"
        source = import_module(f"workflow_scripts.data.sources.{spec.source}")
        path = tmp_path / entry["path"]
        write_folder(source.records(spec, path, 1), root, {"source": spec.source})
        (tmp_path / f"work-{name}").mkdir()
        result = converted(root, tmp_path / f"work-{name}")
        assert result.quarantine == [] and result.rows
        for row in result.rows:
            assert row.images == ()
            reading = load_part(row.task, "reading")
            assert reading.read_strict(row.expected, row.answer) is not None and reading.reference(row) is not None
            answers[row.task] = row.answer
    assert set(answers) == {"entities", "relations", "entailment", "similarity", "span_qa"}
    assert (answers["entailment"], answers["similarity"], answers["span_qa"]) == ("contradiction", "4.5", "81 mg")


def lay_out(folder, notes=6):
    """A checkout with toy notes, and a tiny encoder of GatorTron's class in the place of GatorTron."""
    checkout(folder)
    write_notes(out=folder / "notes", notes=notes, held_out=3)
    texts = [file.read_text() for file in sorted((folder / "notes").rglob("*.txt"))]
    write_encoder(folder / "checkpoints/gatortron-base", texts, "megatron-bert", 128)
    raw = yaml.safe_load((folder / CONFIG[1]).read_text())
    raw["systems"]["gatortron"]["encoder"] |= {"gpus": 0, "length": 128, "stride": 32}
    raw["systems"]["gatortron"]["tuning"] = {"epochs": 1, "learning_rate": 1e-3}
    (folder / CONFIG[1]).write_text(yaml.safe_dump(raw | {"scoring": {"resamples": 100}}, sort_keys=False))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return lay_out(tmp_path_factory.mktemp("clinical-text"))


def test_the_shipped_configuration_plans_the_encoder(folder):
    jobs = planned(folder, *CONFIG)
    assert jobs["data_prepare"] == 1 and jobs["models_fetch"] == 1
    assert jobs["encoders_train"] == 1 and jobs["encoders_answer"] == 1 and jobs["infer_baseline"] == 2
    assert "train_tune" not in jobs and "features_extract" not in jobs


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"encoder": {"checkpoint": "nowhere/bert"}},
            "systems.gatortron.encoder.revision: nowhere/bert is not a directory",
        ),
        (
            {"encoder": {"checkpoint": "./nowhere"}},
            "systems.gatortron.encoder.checkpoint: ./nowhere is not a directory",
        ),
        ({"train": "other"}, "systems.gatortron.train: 'other' is not in `splits`"),
        ({"train": "test"}, "systems.gatortron.train: split 'test' is also in `evaluate`"),
        ({"tasks": ["entity"]}, "'entity' is not a task"),
        ({"encoder": {"checkpoint": "checkpoints/gatortron-base", "length": 64, "stride": 40}}, "below half of length"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_place(folder, change, sentence):
    raw = yaml.safe_load((folder / CONFIG[1]).read_text())
    raw["systems"]["gatortron"] |= change
    (folder / "config/wrong.yaml").write_text(yaml.safe_dump(raw))
    assert sentence in refused(folder, "-n", "--configfile", "config/wrong.yaml")


@pytest.fixture(scope="module")
def done(folder):
    snakemake(folder, *TARGETS, *CONFIG)
    return folder


@pytest.mark.slow
def test_notes_go_from_brat_to_the_table(done):
    rows = read_rows(done / RESULTS / "splits/test/rows.parquet", Row)
    assert {row.task for row in rows} == {"entities", "relations"} and {row.case_id for row in rows} == {
        f"/case/test/note000{number}" for number in (1, 2, 3)
    }
    answers = read_rows(done / RESULTS / "predictions/test/gatortron.parquet", Prediction)
    assert {answer.uid for answer in answers} == {row.uid for row in rows}
    history = read_rows(done / RESULTS / "systems/gatortron/history.parquet", TrainingStep)
    assert history and [step.step for step in history] == list(range(1, len(history) + 1))
    values = read_rows(done / RESULTS / "scores/test/metrics.parquet", MetricValue)
    assert {(v.metric, v.system) for v in values if v.primary} == {
        (metric, system) for metric in ("entity_f1", "relation_f1") for system in ("gatortron", "dictionary", "nothing")
    }
    table = (done / RESULTS / "report/test/table.md").read_text()
    assert "gatortron" in table and "entity_f1" in table
    methods = (done / RESULTS / "report/test/methods.md").read_text()
    assert "`gatortron` is the text encoder of a local folder" in methods and "not recorded), which" not in methods
    assert (done / RESULTS / "report/test/figures/training-gatortron.svg").is_file()
    assert not list((done / RESULTS / "report/test/figures").glob("labels-*"))


@pytest.mark.extended
def test_what_runs_again_is_what_the_contract_says(done):
    assert planned(done, *TARGETS, *CONFIG) == {}
    raw = yaml.safe_load((done / CONFIG[1]).read_text())

    def plan(**change):
        entry = raw["systems"]["gatortron"] | change
        other = raw | {"systems": raw["systems"] | {"gatortron": entry}}
        (done / "config/other.yaml").write_text(yaml.safe_dump(other, sort_keys=False))
        return planned(done, *TARGETS, "--configfile", "config/other.yaml")

    tuned = plan(tuning={"epochs": 2})
    assert tuned["encoders_train"] == tuned["encoders_answer"] == 1
    assert not {"data_prepare", "data_convert", "infer_baseline"} & set(tuned)
    assert plan(encoder=raw["systems"]["gatortron"]["encoder"] | {"stride": 16})["encoders_train"] == 1
    note = done / "notes/test/note0001.ann"
    text = note.read_text()
    note.write_text(text.replace("\n", "\r\n"))
    again = planned(done, *TARGETS, *CONFIG)
    assert again["data_prepare"] == 1
    note.write_text(text)
    assert planned(done, *TARGETS, *CONFIG) == {}
    weights = done / "checkpoints/gatortron-base/config.json"
    settings = weights.read_text()
    weights.write_text(settings + " ")
    changed = planned(done, *TARGETS, *CONFIG)
    assert changed["models_fetch"] == changed["encoders_train"] == 1 and "data_prepare" not in changed
    weights.write_text(settings)
    for module, jobs, others in (
        ("encoders/inputs.py", {"encoders_train", "encoders_answer"}, {"data_prepare", "infer_baseline"}),
        ("tasks/entities/metrics.py", {"score_metrics"}, {"encoders_train", "score_outcomes", "data_convert"}),
        ("tasks/entities/encoding.py", {"encoders_train"}, {"data_convert", "infer_baseline", "data_prepare"}),
        ("data/brat/standoff.py", {"data_prepare"}, set()),
    ):
        file = done / "workflow_scripts" / module
        before = file.read_text()
        file.write_text(before + "\n# a line\n")
        plan_after = planned(done, *TARGETS, *CONFIG)
        assert jobs <= set(plan_after) and not others & set(plan_after), (module, plan_after)
        file.write_text(before)
