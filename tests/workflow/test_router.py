"""The configuration of a router over seven adapters: its plan, and a whole run of its shape on the toy model."""

import csv
import json

import pytest
import yaml

from tests.train.text_encoder import write_encoder
from tests.workflow.runs import ROOT, checkout, planned, refused, snakemake
from workflow_scripts.core.rows import MetricValue, Prediction
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.tasks import BUILT_IN
from workflow_scripts.models.routing.rows import RoutedRow

pytestmark = pytest.mark.workflow
SHIPPED = "config/router.yaml"
TASKS = [task.name for task in BUILT_IN]
WORDS = ["How", "many", "What", "Where", "are", "is", "the", "a", "of", "in", "Describe", "report", "Which"]
"""What the toy encoder knows."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return checkout(tmp_path_factory.mktemp("router"))


def test_the_leaders_shape_is_at_most_thirty_lines():
    text = (ROOT / SHIPPED).read_text()
    assert len(text.splitlines()) <= 30
    raw = yaml.safe_load(text)
    assert len([s for s in raw["systems"].values() if "recipe" in s]) == 7
    assert {s["route"]["by"] for s in raw["systems"].values() if "route" in s} == {"rule", "classifier"}


def test_seven_adapters_are_tuned_and_answer_in_one_load_and_routers_generate_nothing(folder):
    plan = planned(folder, "--configfile", SHIPPED)
    assert plan["train_tune"] == 7 and plan["infer_answer"] == 2  # two shards, each of one load
    assert plan["infer_gather"] == 8 and plan["infer_route"] == 2
    assert plan["train_router"] == plan["score_router"] == plan["report_router"] == 1
    assert plan["models_fetch"] == 4  # the base, two judges and the encoder
    assert plan["score_judge"] == 3 and plan["score_outcomes"] == 10
    assert "score_experts" not in plan


def test_an_oracle_waits_for_its_experts_scores_and_no_judge_waits_for_it(folder):
    experts = "experts: [base, majority, nearest]"
    oracle = ("--config", f"systems={{oracle: {{route: {{by: oracle, {experts}}}}}}}")
    plan = planned(folder, *oracle)
    assert (plan["score_experts"], plan["infer_route"], plan["score_judge"]) == (1, 1, 1)
    output = snakemake(folder, "-n", "-p", *oracle)
    [judging] = [line for line in output.splitlines() if "-m workflow_scripts.score.judge" in line]
    [comparing] = [line for line in output.splitlines() if "-m workflow_scripts.score.comparisons" in line]
    assert "oracle" not in judging and "oracle" not in comparing
    assert "--oracles oracle" in output
    challenge = snakemake(folder, "-n", "-p", "challenge", *oracle)
    assert "predictions/validation/oracle" not in challenge


@pytest.mark.parametrize(
    ("route", "sentence"),
    [
        ("{by: oracle, experts: [base]}", "systems.best: it reads scores, which its name has to say in every table"),
        ("{by: rule, experts: {counting: nobody}}", "systems.best.route: 'nobody' is not in `systems`; allowed: base"),
        ("{by: rule, experts: {count: base}}", "experts: 'count' is not a task; allowed: classification, "),
        ("{by: classifier, experts: {counting: base}}", "by: classifier needs train, the split it learns from, and"),
        ("{by: rule, experts: {counting: base}, threshold: 0.5}", "train, encoder and threshold are a classifier's"),
        ("{by: rule, experts: {counting: best}}", "systems.best.route: 'best' is a router itself; allowed: base"),
        (
            "{by: classifier, experts: {counting: base}, default: base, train: validation}",
            "systems.best.train: split 'validation' is also in `evaluate`",
        ),
        (
            "{by: classifier, experts: {counting: base}, default: base, train: train, encoder: {checkpoint: a/b}}",
            "systems.best.route.encoder.revision: a/b is not a directory here",
        ),
    ],
)
def test_a_route_that_cannot_be_is_one_sentence_before_any_job(folder, route, sentence):
    assert sentence in refused(folder, "-n", "--config", f"systems={{best: {{route: {route}}}}}")


@pytest.mark.extended
def test_the_leaders_shape_runs_from_data_to_the_page_with_the_toy_model(folder):
    raw = yaml.safe_load((folder / SHIPPED).read_text())
    raw |= {"results": "results/toy_router", "datasets": {"flare": {"source": "synthetic", "seed": 7, "scale": 0.08}}}
    raw |= {"models": {"medgemma15": {"source": "synthetic"}}, "judges": {"rule_based": {"backend": "rule_based"}}}
    for recipe in raw["recipes"].values():
        recipe |= {"epochs": None, "steps": 4, "batch": 8, "micro_batch": 8, "learning_rate": 3.0e-3}
    encoder = write_encoder(folder / "encoder", WORDS)
    raw["systems"]["by_question"]["route"]["encoder"] = {"checkpoint": str(encoder)}
    raw["systems"]["oracle"] = {"route": {"by": "oracle", "experts": ["base", *TASKS]}}
    raw["inference"] |= {"shards": 1, "max_new_tokens": dict.fromkeys(TASKS, 8)}
    (folder / "config/toy_router.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    snakemake(folder, "--configfile", "config/toy_router.yaml")
    assert planned(folder, "--configfile", "config/toy_router.yaml") == {}
    results = folder / "results/toy_router"
    predictions = results / "predictions/validation"
    own = {name: read_rows(predictions / f"{name}.parquet", Prediction) for name in ("base", *TASKS)}
    texts = {name: {row.uid: row.text for row in rows} for name, rows in own.items()}
    assert len({tuple(of.values()) for of in texts.values()}) > 4  # the adapters answer differently
    for system in ("by_task", "by_question", "oracle"):
        expert = {r.uid: r.expert for r in read_rows(predictions / f"{system}.routes.parquet", RoutedRow) if r.in_use}
        answers = read_rows(predictions / f"{system}.parquet", Prediction)
        assert [row.text for row in answers] == [texts[expert[row.uid]][row.uid] for row in answers]
    values = read_rows(results / "scores/validation/metrics.parquet", MetricValue)
    primary = {(v.task, v.system): v for v in values if v.primary and v.subset == "macro"}
    for task in TASKS:
        assert primary[task, "by_task"].value == primary[task, task].value
    page = (results / "report/validation/index.html").read_text()
    assert 'id="routing"' in page and "an upper bound, never ranked" in page
    lines = list(csv.DictReader((results / "report/validation/router.csv").open()))
    every = {r["router"]: r for r in lines if (r["system"], r["label"]) == ("by_question", "all")}
    accuracy = {name: float(line["accuracy"]) for name, line in every.items()}
    assert accuracy["tfidf"] > 0.9 and accuracy["encoder"] > accuracy["majority"]
    assert int(every["encoder"]["parameters"]) > 0 and float(every["encoder"]["seconds"]) > 0
    numbers = json.loads((results / "report/validation/results.json").read_text())
    files = numbers["systems"]["by_task"]["files"]
    assert files["counting: adapter"] == "systems/counting/adapter/adapter_model.safetensors"
    assert "base: predictions" in files and "routes" in files
    raw["systems"]["by_question"]["route"]["threshold"] = 0.9
    (folder / "config/toy_router.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    plan = planned(folder, "--configfile", "config/toy_router.yaml")
    assert plan["infer_route"] == plan["score_outcomes"] == plan["score_reports"] == 1
    assert not {"train_router", "train_tune", "infer_answer", "score_judge", "score_experts"} & set(plan)
