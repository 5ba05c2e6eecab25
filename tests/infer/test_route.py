"""A routed system has its experts' answers: by rule, by a classifier, and by an oracle that no expert beats."""

import json
from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from tests.score.conftest import LETTER, box, one_of_each, prediction, row
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.judges import JudgeSection, RuleBasedJudge
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.config.systems.routed import Route
from workflow_scripts.core.metrics import ROW_SCORE
from workflow_scripts.core.rows import ExpectedFormat, MetricValue, Prediction, Row, RowFact
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import tasks
from workflow_scripts.infer.route import write_route
from workflow_scripts.models.routing.rows import RoutedRow
from workflow_scripts.score.experts import score_experts
from workflow_scripts.score.judge import judge
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.reports import write_reports

EXPERTS = ("careful", "hasty", "silent")
COPIES = 12


def written(entry, number):
    """A number as the row's format has it."""
    return f"{number}%" if entry.expected.percent else str(number)


def rows_of_a_split():
    """Rows of every task; numbers and labels vary, so that a metric is more than a share of equal rows."""
    rows = []
    for copy in range(COPIES):
        for entry in one_of_each():
            entry = replace(entry, uid=f"{copy:02d}-{entry.uid}", case_id=f"{copy}-{entry.case_id}")
            if entry.number is not None:
                entry = replace(entry, number=float(7 * copy + 3), answer=written(entry, 7 * copy + 3))
            if entry.expected == LETTER:
                entry = replace(entry, answer="AB"[copy % 2])
            rows.append(entry)
    rng = np.random.default_rng(3)
    for place in range(8):  # several boxes a row, of which an answer may have some
        corners = [[int(x), int(y), int(x) + 9, int(y) + 9] for x, y in rng.integers(0, 90, (3, 2))]
        boxes = tuple(box(*c) for c in corners)
        expected = ExpectedFormat(box_convention="xyxy")
        rows.append(row(900 + place, "detection", json.dumps(corners), boxes=boxes, expected=expected))
    return rows


def answer_of(entry, expert, rng):
    """What an expert writes: right, near, wrong or unreadable, as chance has it."""
    if expert == "silent":
        return "I cannot tell."
    chance = rng.random()
    if chance < (0.5 if expert == "careful" else 0.3):
        return entry.answer
    if entry.number is not None:
        return written(entry, abs(round(entry.number + rng.normal(0, 12))))
    if entry.task == "detection":
        return json.dumps(json.loads(entry.answer)[: int(rng.integers(0, 3))])
    return {"report": "Cardiomegaly.", "classification": "A"}.get(entry.task, "?")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("route")


@pytest.fixture(scope="module")
def rows(folder):
    rows = rows_of_a_split()
    write_rows(folder / "rows.parquet", rows, Row)
    return rows


@pytest.fixture(scope="module")
def predictions(folder, rows):
    """The experts' predictions; `hasty` has none of one row."""
    paths = []
    for seed, expert in enumerate(EXPERTS):
        rng = np.random.default_rng(seed)
        answers = [prediction(entry.uid, answer_of(entry, expert, rng), expert) for entry in rows]
        paths.append(folder / f"{expert}.parquet")
        write_rows(paths[-1], answers[1:] if expert == "hasty" else answers, Prediction)
    return paths


@pytest.fixture(scope="module")
def judgements(folder, rows, predictions):
    """Judged pairs of the experts alone: a routed system's are among them."""
    out = folder / "judged.parquet"
    section = JudgeSection(RuleBasedJudge())
    judge(
        split=folder / "rows.parquet", predictions=predictions, name="rules", spec=section, store=folder / "s", out=out
    )
    return out


def scored(folder, path, system, judgements):
    """Outcomes and report scores of a system."""
    outcomes, scores = folder / f"{system}.outcomes", folder / f"{system}.scores"
    write_outcomes(split=folder / "rows.parquet", predictions=path, system=system, out=outcomes)
    findings = folder / f"{system}.findings"
    write_reports(
        split=folder / "rows.parquet", predictions=path, judgements=[judgements], out=scores, findings=findings
    )
    return outcomes, scores


def routed(folder, route, predictions, system="router", **inputs):
    """Predictions by uid and routes of a routed system."""
    out, routes = folder / f"{system}.parquet", folder / f"{system}.routes.parquet"
    write_route(
        split=folder / "rows.parquet",
        system=system,
        route=route,
        predictions=predictions,
        out=out,
        routes=routes,
        **inputs,
    )
    return {row.uid: row for row in read_rows(out, Prediction)}, read_rows(routes, RoutedRow)


@pytest.fixture(scope="module")
def oracle(folder, rows, predictions, judgements):
    """Values and facts of the experts and of an oracle over them, as the workflow computes them."""
    tables = [scored(folder, path, expert, judgements) for path, expert in zip(predictions, EXPERTS, strict=True)]
    outcomes, scores = (list(paths) for paths in zip(*tables, strict=True))
    facts = folder / "experts.parquet"
    score_experts(outcomes=outcomes, report_scores=scores, rule_based_judges=["rules"], out=facts)
    route = Route(by="oracle", experts=dict(zip("abc", EXPERTS, strict=True)))
    answers, routes = routed(folder, route, predictions, "oracle", facts=facts)
    own = scored(folder, folder / "oracle.parquet", "oracle", judgements)
    out, every_fact = folder / "metrics.parquet", folder / "facts.parquet"
    write_metrics(
        outcomes=[*outcomes, own[0]],
        report_scores=[*scores, own[1]],
        rule_based_judges=["rules"],
        scoring=Scoring(resamples=100),
        out=out,
        facts=every_fact,
    )
    return answers, routes, read_rows(out, MetricValue), read_rows(every_fact, RowFact)


def by_fact(facts, name):
    """Values of a fact by uid and system."""
    return {(fact.uid, fact.system): fact.value for fact in facts if fact.fact == name}


def test_each_row_of_an_oracle_scores_exactly_as_the_best_of_its_experts(rows, oracle):
    scores = by_fact(oracle[3], ROW_SCORE)
    for entry in rows:
        of_experts = [scores[entry.uid, expert] for expert in EXPERTS if (entry.uid, expert) in scores]
        assert scores.get((entry.uid, "oracle")) == max(of_experts, default=None)
    chosen = {route.expert for route in oracle[1]}
    assert {"careful", "hasty"} <= chosen  # each is the best somewhere


def test_the_metrics_of_an_oracle_are_those_of_its_best_answers_computed_anew(rows, predictions, oracle):
    value = {
        (v.task, v.metric): v.value for v in oracle[2] if v.system == "oracle" and v.primary and v.subset == "macro"
    }
    texts = {
        expert: {answer.uid: answer.text for answer in read_rows(path, Prediction)}
        for expert, path in zip(EXPERTS, predictions, strict=True)
    }

    def given(entry):
        return [texts[expert].get(entry.uid) for expert in EXPERTS]

    right = defaultdict(list)
    for entry in rows:
        if entry.task == "classification":
            right[entry.answer].append(entry.answer in given(entry))
    balanced = np.mean([np.mean(of_class) for of_class in right.values()])
    assert value["classification", "balanced_accuracy"] == pytest.approx(balanced, abs=1e-12)

    for task in ("counting", "regression"):
        numbers = [entry for entry in rows if entry.task == task]
        references = np.array([entry.number for entry in numbers])
        range_ = np.array([0.0, *references])
        errors = []
        for entry in numbers:
            worst = max(abs(entry.number - range_.min()), abs(entry.number - range_.max()))
            read = [abs(float(t.rstrip("%")) - entry.number) for t in given(entry) if t and not t.startswith("I")]
            errors.append(min([worst, *read]))
        assert value[task, "mae"] == pytest.approx(np.mean(errors), abs=1e-9)


def test_an_oracle_is_no_worse_than_any_expert_in_any_task(oracle):
    primary = {(v.task, v.system): v for v in oracle[2] if v.primary and v.subset == "macro"}
    for task in tasks():
        if (
            task == "similarity"
        ):  # a correlation is no mean over rows: the best answer to each need not be the best of it
            continue
        best = primary[task, "oracle"]
        for expert in EXPERTS:
            other = primary[task, expert].value
            assert best.value >= other - 1e-12 if best.direction == "higher" else best.value <= other + 1e-12


def test_an_oracle_prefers_the_expert_that_is_named_first_among_equals(rows, predictions, oracle):
    scores, errors = by_fact(oracle[3], ROW_SCORE), by_fact(oracle[3], "bounded strict")
    for route in oracle[1]:
        merits = [(scores.get((route.uid, name), -1.0), -errors.get((route.uid, name), np.inf)) for name in EXPERTS]
        assert route.expert == EXPERTS[merits.index(max(merits))]


def test_a_rule_gives_each_row_the_answer_of_its_tasks_expert_word_by_word(folder, rows, predictions):
    route = Route(by="rule", experts={"counting": "careful", "report": "hasty"}, default="silent")
    answers, routes = routed(folder, route, predictions)
    own = [{answer.uid: answer for answer in read_rows(path, Prediction)} for path in predictions]
    place = {"counting": 0, "report": 1}
    for entry, chosen in zip(rows, routes, strict=True):
        expert = place.get(entry.task, 2)
        assert answers[entry.uid] == replace(own[expert][entry.uid], system="router")
        assert (chosen.uid, chosen.expert, chosen.label) == (entry.uid, EXPERTS[expert], entry.task)


def test_a_row_that_its_expert_left_out_stays_without_an_answer(folder, rows, predictions):
    route = Route(by="rule", on="modality", experts={"Xray": "hasty"})
    answers, _ = routed(folder, route, predictions[1:2])
    assert set(answers) == {entry.uid for entry in rows[1:]}


def test_a_value_without_an_expert_or_a_default_stops_the_step(folder, rows, predictions):
    with pytest.raises(Refused, match=r"names no expert for task 'classification' and no default; name one"):
        routed(folder, Route(by="rule", experts={"counting": "careful"}), predictions[:1])


def test_a_route_that_lacks_what_it_chooses_by_is_refused(folder, rows, predictions):
    learned = Route(by="classifier", experts={"counting": "careful"}, default="silent", train="train")
    with pytest.raises(Refused, match="give its folder with --router"):
        routed(folder, learned, [predictions[0], predictions[2]])
    with pytest.raises(Refused, match="give the facts of its experts' rows with --facts"):
        routed(folder, Route(by="oracle", experts={"a": "careful"}), predictions[:1])
