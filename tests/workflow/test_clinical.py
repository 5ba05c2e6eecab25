"""The configuration of clinical cases: its plan, and runs from local files to tables on imitated cases."""

import json
import shlex
import subprocess
import sys

import pytest
import yaml

from tests.data.clinical_layouts import admissions, cpc, grey_matters, healer, replies
from tests.workflow.runs import ROOT, checkout, planned, refused, snakemake
from workflow_scripts.core.rows import MetricValue, Outcome, Prediction, Row
from workflow_scripts.core.tables import read_rows

pytestmark = pytest.mark.workflow

SHIPPED = "config/clinical.yaml"
GRADED = ("cpc", "next_test", "healer", "management")
REPLIES = {
    "bond": {"reason": "named", "score": 4},
    "likert": {"reason": "of some help", "score": 1},
    "r_idea": {"reason": "short", "items": {"1": 2, "2": 1, "3": 1, "4": 0}},
    "management": {"reason": "the first item", "items": {"1": 50, "2": 0, "3": 0}},
}
SCORES = {"bond": 4, "likert": 1, "r_idea": 4, "management": 50}


def export(folder):
    """Run the command of docs/howto/clinical.md that makes the table of admissions."""
    page = (ROOT / "docs/howto/clinical.md").read_text(encoding="utf-8")
    [block] = [part for part in page.split("```sh\n")[1:] if "table_admissions" in part]
    command = block.split("```")[0].replace("\\\n", " ")
    for file in admissions(folder, 4):
        assert file.name in command
    (folder / "lab_test_mapping.csv").write_text("itemid,label,fluid\n50956,Lipase,Blood\n")
    program, *arguments = shlex.split(command.replace("--examples 0.1", "--examples 0.3"))
    assert program == "python"
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = checkout(tmp_path_factory.mktemp("clinical"))
    cpc(folder / "clinical/nejm-cpc")
    healer(folder / "clinical/nejm-healer")
    grey_matters(folder / "clinical/grey-matters")
    export(folder)
    scores = {"question": "?", "reference": "Gout", "hypothesis": "Gout", "rubric": "bond", "scores": [5, 5]}
    replies(folder / "clinical/human-scores.jsonl", [scores])
    return folder


def test_the_shipped_configuration_plans_on_local_files_with_a_judge_and_a_hundred_answers(folder):
    plan = planned(folder, "--configfile", SHIPPED)
    assert plan["data_prepare"] == 6 and plan["data_join"] == 1
    assert plan["infer_consensus"] == 6 and plan["infer_baseline"] == 18
    assert plan["models_fetch"] == 2 and plan["score_validity"] == 1
    drawn = yaml.safe_load((ROOT / SHIPPED).read_text())["systems"]["drawn"]
    assert drawn["samples"] == {"draws": 100, "temperature": 1.0}


def test_a_set_that_is_not_there_is_one_sentence(folder):
    (folder / "clinical/nejm-healer").rename(folder / "clinical/elsewhere")
    try:
        said = refused(folder, "-n", "--configfile", SHIPPED)
    finally:
        (folder / "clinical/elsewhere").rename(folder / "clinical/nejm-healer")
    assert "datasets.healer.path: clinical/nejm-healer does not exist; give the folder or the file" in said


def small(results, model, judge, **changes):
    """The shipped configuration with another model and judge, on few draws and with one baseline."""
    raw = yaml.safe_load((ROOT / SHIPPED).read_text())
    raw["systems"] = {name: raw["systems"][name] for name in ("base", "drawn", "majority")}
    raw["systems"]["drawn"]["samples"]["draws"] = 5
    for name in ("base", "drawn"):
        raw["systems"][name]["model"] = "small"
    limits = {"free_response": 12, "probability": 6, "clinical_decision": 12}
    raw |= {"results": results, "models": {"small": model}, "judges": {"grader": judge}}
    raw |= {"inference": {"shards": 1, "max_new_tokens": limits}, "scoring": {"resamples": 100}, "report": {"cases": 2}}
    return raw | changes


def written(folder, name, raw):
    (folder / f"config/{name}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    return "--configfile", f"config/{name}.yaml"


def answered(folder, results, split):
    """Rows of a split with each system's predictions."""
    rows = {row.uid: row for row in read_rows(folder / f"{results}/splits/{split}/rows.parquet", Row)}
    for file in sorted((folder / f"{results}/predictions/{split}").glob("*.parquet")):
        for prediction in read_rows(file, Prediction):
            yield rows[prediction.uid], prediction


def values_of(folder, results, split):
    """The metrics of a split on its one subset, by system, name and stratum."""
    values = read_rows(folder / f"{results}/scores/{split}/metrics.parquet", MetricValue)
    return {
        (value.system, value.metric, value.stratum): value
        for value in values
        if value.subset not in ("macro", "pooled") and value.reading in (None, "strict")
    }


@pytest.mark.extended
def test_the_configuration_runs_to_tables_with_the_toy_model_and_recorded_grades(folder):
    results, recorded = "results/toy", folder / "grades.jsonl"
    judge = {"backend": "recorded", "metric": "rubric", "path": "grades.jsonl"}
    judge["validity"] = {"path": "clinical/human-scores.jsonl", "at_least": 0.6}
    replies(recorded, [])
    raw = small(results, {"source": "synthetic"}, judge)
    arguments = written(folder, "toy", raw)
    targets = [f"{results}/predictions/{split}/{name}.parquet" for split in GRADED for name in raw["systems"]]
    snakemake(folder, *targets, *arguments)
    grades, people = {}, {}
    for split in GRADED:
        for row, prediction in answered(folder, results, split):
            stated = json.loads(row.rubric)
            name = stated if isinstance(stated, str) else stated["rubric"]
            pair = {"question": row.question, "reference": row.answer, "hypothesis": prediction.text, "rubric": stated}
            key = json.dumps(pair)  # two systems may have given the same answer
            grades[key] = pair | {"reply": json.dumps(REPLIES[name])}
            people[key] = pair | {"scores": [SCORES[name]]}
    replies(recorded, [*grades.values()])
    replies(folder / "clinical/human-scores.jsonl", [*people.values()])
    snakemake(folder, *arguments)
    assert planned(folder, *arguments) == {}
    for split, metric in zip(GRADED, ("bond", "likert", "r_idea", "management"), strict=True):
        values = values_of(folder, results, split)
        graded = {key[0]: value.value for key, value in values.items() if key[1] == metric and key[2] is None}
        assert set(graded) == set(raw["systems"]) and None not in graded.values()
        assert graded["majority"] == SCORES[metric]
    values = values_of(folder, results, "probabilities")
    assert values["majority", "interval_error", None].value > 10 and values["majority", "interval_error", None].primary
    assert values["drawn", "estimate_iqr", None].rows == 9 and ("base", "estimate_iqr", None) not in values
    outcomes = read_rows(folder / f"{results}/scores/probabilities/drawn/outcomes.parquet", Outcome)
    assert all(len(json.loads(outcome.samples)) == 5 for outcome in outcomes)
    values = values_of(folder, results, "decisions")
    assert 0 < values["majority", "diagnosis_accuracy", None].value < 1
    assert values["majority", "mean_diagnosis_accuracy", None].value is not None
    for split in (*GRADED, "probabilities", "decisions"):
        assert (folder / f"{results}/report/{split}/index.html").stat().st_size > 10_000
        assert (folder / f"{results}/report/{split}/table.csv").stat().st_size > 100
