"""Numbers that say little or nothing are noted: few rows, a single class, units that cannot be averaged."""

import pytest

from tests.score.conftest import LETTER, prediction, row
from workflow_scripts.core.config.judges import JudgeSection, RuleBasedJudge
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.metrics import NOTES
from workflow_scripts.core.rows import Box, ExpectedFormat, Instance, MetricValue, Row, RowFact
from workflow_scripts.core.tables import read_rows
from workflow_scripts.score.judge import judge
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.reports import write_reports

TEETH = ExpectedFormat(labels=("Caries", "Crown", "Root"), separator=";")


def primary_of(tables, folder, rows: list[Row], texts: list[str], **more) -> dict[str, MetricValue]:
    """The primary metric by subset."""
    split, answers = tables(rows, [prediction(r.uid, text) for r, text in zip(rows, texts, strict=True)])
    write_outcomes(split=split, predictions=answers, system="base", out=folder / "o")
    write_metrics(outcomes=[folder / "o"], scoring=Scoring(resamples=100), out=folder / "m", facts=folder / "f", **more)
    return {v.subset: v for v in read_rows(folder / "m", MetricValue) if v.primary}


def notes(values: dict[str, MetricValue]) -> dict[str, set[str]]:
    named = {subset: set(value.note.split("; ")) if value.note else set() for subset, value in values.items()}
    assert set().union(*named.values()) <= NOTES.keys()
    return named


def letters(answers: dict[str, str]) -> list[Row]:
    """Rows of classification: the letters of each subset."""
    pairs = [(subset, letter) for subset, of_subset in answers.items() for letter in of_subset]
    return [
        row(n, "classification", letter, subset=subset, expected=LETTER) for n, (subset, letter) in enumerate(pairs)
    ]


def test_a_single_class_is_noted_for_its_subset_and_for_the_mean_it_is_part_of(tables, tmp_path):
    rows = letters({"one": "A" * 20, "two": "AB" * 10})
    values = primary_of(tables, tmp_path, rows, ["A"] * 40)
    assert notes(values) == {"one": {"single_class"}, "two": set(), "macro": {"single_class"}, "pooled": set()}
    assert values["one"].value == 1.0


def test_fewer_than_twenty_rows_are_noted(tables, tmp_path):
    rows = letters({"few": "AB" * 9 + "A", "enough": "AB" * 10})
    values = primary_of(tables, tmp_path, rows, ["A"] * 39)
    assert notes(values) == {"few": {"few_rows"}, "enough": set(), "macro": set(), "pooled": set()}


@pytest.mark.parametrize(
    ("percent", "noted"), [((True, False), {"mixed_units"}), ((True, True), set()), ((False, False), set())]
)
def test_a_mean_over_percentages_and_years_is_noted(percent, noted, tables, tmp_path):
    rows = [
        row(n, "regression", "30", number=30.0, subset=f"s{n % 2}", expected=ExpectedFormat(percent=percent[n % 2]))
        for n in range(40)
    ]
    values = primary_of(tables, tmp_path, rows, ["31"] * 40)
    assert notes(values) == {"s0": set(), "s1": set(), "macro": noted, "pooled": noted}
    for value in read_rows(tmp_path / "m", MetricValue):
        if value.subset == "macro":
            assert (value.note is not None) == bool(noted and value.metric != "wrong_format"), value.metric


@pytest.mark.parametrize(
    ("task", "reference", "typed", "scores"),
    [
        ("classification", "B", {"expected": LETTER}, {"B": 1, " b ": 1, "A": 0, "It is B": 0, "": 0}),
        (
            "multi_label",
            "Caries; Crown",
            {"labels": ("Caries", "Crown"), "expected": TEETH},
            {"crown;caries": 1, "Caries": 2 / 3, "Caries; Crown; Root": 0.8, "Root": 0, "": 0},
        ),
        (
            "multi_label",
            "",
            {"labels": (), "expected": TEETH},
            {"": 1, "None": 1, "Crown": 0, "I cannot tell": 0},
        ),
        ("counting", "12", {"number": 12.0}, {"12": 1, "17": 1, "18": 0, "twelve": 0, "about 12": 0}),
        ("regression", "33.3333333333333", {"number": 33.3333333333333}, {"33.33": 1, "40": 0}),
    ],
)  # fmt: skip
def test_a_row_is_as_right_as_its_tasks_own_metric_says(task, reference, typed, scores, tables, tmp_path):
    rows = [row(n, task, reference, **typed) for n in range(len(scores))]
    primary_of(tables, tmp_path, rows, list(scores))
    facts = {fact.uid: fact.value for fact in read_rows(tmp_path / "f", RowFact) if fact.fact == "row_score"}
    assert [facts[r.uid] for r in rows] == pytest.approx(list(scores.values()))


def test_a_row_of_boxes_is_right_where_all_are_matched(tables, tmp_path):
    corners = ExpectedFormat(box_convention="xyxy")
    boxes = (Box(0, 0, 10, 10), Box(50, 50, 60, 60))
    shown = {"[[0, 0, 10, 10], [50, 50, 60, 60]]": 1, "[[0, 0, 10, 11]]": 2 / 3, "[[90, 90, 95, 95]]": 0, "no": 0}
    rows = [row(n, "detection", "x", boxes=boxes, expected=corners) for n in range(len(shown))]
    instances = (Instance("1", boxes[0]), Instance("2", boxes[1]))
    by_identity = {'{"1": [[0, 0, 10, 10]], "2": [[50, 50, 60, 60]]}': 1, '{"2": [[0, 0, 10, 10]]}': 0, "no": 0}
    rows += [row(10 + n, "instance_detection", "x", instances=instances, expected=corners) for n in range(3)]
    rows += [row(20 + n, "detection", "[]", boxes=(), expected=corners) for n in range(3)]
    empty = {"[]": 1, "[[0, 0, 1, 1]]": 0, "nothing that can be read": 0}
    scores = [*shown.items(), *by_identity.items(), *empty.items()]
    primary_of(tables, tmp_path, rows, [text for text, _ in scores])
    facts = {fact.uid: fact.value for fact in read_rows(tmp_path / "f", RowFact) if fact.fact == "row_score"}
    assert [facts[r.uid] for r in rows] == pytest.approx([score for _, score in scores])


def test_a_judge_that_abstained_makes_no_row_valid_and_is_counted(tables, tmp_path):
    """Half of the reports are of no chest: the judge abstains; one report is empty."""
    rows = [
        row(n, "report", "Small left pleural effusion.", modality="Xray" if n < 4 else "Dermatology") for n in range(8)
    ]
    texts = ["Small left pleural effusion."] * 3 + [""] + ["A naevus."] * 4
    split, answers = tables(rows, [prediction(r.uid, text) for r, text in zip(rows, texts, strict=True)])
    judgements, scores = tmp_path / "j", tmp_path / "s"
    spec = JudgeSection(RuleBasedJudge())
    judge(split=split, predictions=[answers], name="rules", spec=spec, store=tmp_path / "store", out=judgements)
    write_reports(split=split, predictions=answers, judgements=[judgements], out=scores, findings=tmp_path / "fi")
    more = {"report_scores": [scores], "rule_based_judges": ["rules"]}
    crimson = primary_of(tables, tmp_path, rows, texts, **more)["macro"]
    assert (crimson.metric, crimson.judge, crimson.rows) == ("crimson", "rules", 8)
    assert (crimson.abstained, crimson.invalid, crimson.unread, crimson.valid_share) == (4, 0, 4, 3 / 8)
    facts = {fact.uid: fact.value for fact in read_rows(tmp_path / "f", RowFact) if fact.fact == "row_score"}
    assert facts == {"u0000": 1.0, "u0001": 1.0, "u0002": 1.0, "u0003": 0.0}
