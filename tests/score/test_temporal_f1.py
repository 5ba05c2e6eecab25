"""Temporal F1: Libra's number to the last digit, for reports with a prior image alone."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.score.conftest import prediction, row
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.rows import Image, MetricValue, Outcome, ReportScore, RowFact
from workflow_scripts.core.tables import read_rows
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.reports import write_reports
from workflow_scripts.tasks.report.temporal import WORDS, change_words, temporal_f1

SOURCE, *VECTORS = [
    json.loads(line)
    for line in (Path(__file__).parent / "vectors/temporal_f1.jsonl").read_text(encoding="utf-8").splitlines()
]


def test_every_vector_of_upstream_is_met_exactly():
    assert SOURCE["commit"] == "0d6c56a" and len(VECTORS) >= 200
    for vector in VECTORS:
        assert sorted(change_words(vector["reference"])) == vector["reference_words"]
        assert sorted(change_words(vector["hypothesis"])) == vector["hypothesis_words"]
        assert temporal_f1(vector["reference"], vector["hypothesis"]) == vector["f1"]


def test_the_vectors_hold_every_word_and_every_kind_of_score():
    assert {word for vector in VECTORS for word in vector["reference_words"]} == WORDS
    scores = [vector["f1"] for vector in VECTORS]
    assert min(scores) < 1e-9 and max(scores) > 1 - 1e-9 and sum(0.1 < score < 0.9 for score in scores) > 50


@pytest.mark.parametrize(
    ("reference", "hypothesis", "score"),
    [
        ("Clear lungs.", "Normal heart.", 1),
        ("Clear lungs.", "New effusion.", 0),
        ("New effusion.", "Effusion.", 0),
        ("Stable effusion, new nodule.", "The nodule is new.", 2 / 3),
        ("Worsened.", "No longer worsened.", 1),
    ],
)
def test_it_is_the_f1_of_two_sets(reference, hypothesis, score):
    assert temporal_f1(reference, hypothesis) == pytest.approx(score, abs=1e-8)


def with_prior(entry, role):
    return replace(entry, images=(Image("a.png", "0" * 64, 1, 1, "current"), Image("b.png", "1" * 64, 1, 1, role)))


def test_only_rows_with_a_prior_have_a_value(tables, tmp_path):
    texts = ["Stable effusion.", "New nodule.", "Larger nodule.", "右侧胸腔积液较前增多。"]
    rows = [row(number, "report", text) for number, text in enumerate(texts)]
    rows = [rows[0], *(with_prior(rows[n], role) for n, role in ((1, "prior"), (2, "prior slice 3"), (3, "prior")))]
    answers = ["Effusion.", "New nodule.", "Stable nodule.", "x"]
    split, predictions = tables(rows, [prediction(r.uid, text) for r, text in zip(rows, answers, strict=True)])
    paths = {name: tmp_path / name for name in ("outcomes", "scores", "findings", "metrics", "facts")}
    write_outcomes(split=split, predictions=predictions, system="base", out=paths["outcomes"])
    write_reports(split=split, predictions=predictions, judgements=[], out=paths["scores"], findings=paths["findings"])
    scores = [score for score in read_rows(paths["scores"], ReportScore) if score.metric == "temporal_f1"]
    assert [score.uid for score in scores] == [entry.uid for entry in rows[1:]]
    assert [score.status for score in scores] == ["valid", "valid", "unreadable_script"]
    write_metrics(
        outcomes=[paths["outcomes"]],
        report_scores=[paths["scores"]],
        scoring=Scoring(resamples=100),
        out=paths["metrics"],
        facts=paths["facts"],
    )
    assert len(read_rows(paths["outcomes"], Outcome)) == 4 and read_rows(paths["facts"], RowFact)
    (value,) = [
        v for v in read_rows(paths["metrics"], MetricValue) if (v.metric, v.subset) == ("temporal_f1", "pooled")
    ]
    assert (value.value, value.rows, value.unread) == (pytest.approx(0.5), 3, 1)
    assert (value.definition, value.direction) == ("Libra", "higher")
