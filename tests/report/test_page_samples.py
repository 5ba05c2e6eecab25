"""The page says how far the answers of systems with samples agree, by task."""

import json
from dataclasses import replace

import pytest

from tests.conftest import make_row
from tests.report.pages import page_of
from tests.report.rows import filled
from workflow_scripts.core.rows import Outcome
from workflow_scripts.report.cases.findings import ReportDetails
from workflow_scripts.report.cases.payload import CaseData
from workflow_scripts.report.cases.scores import ERROR, READ, ROW_SCORE, RowScores
from workflow_scripts.report.summary.samples import SampledAnswers, sampled_answers
from workflow_scripts.report.summary.seen import SeenRows

READINGS = (["A"] * 4, ["A", "A", "A", None], ["B", "A", "C", "B"], [None] * 4)
SCORES = (1.0, 1.0, 0.0, 0.0)


def data_of(root, readings=READINGS) -> CaseData:
    """Rows answered four times by `many` and once by `one`."""
    rows = [make_row(root, n) for n in range(len(readings))]
    outcomes = {}
    for row, values in zip(rows, readings, strict=True):
        one = filled(Outcome, uid=row.uid, task=row.task, system="one", outcome="valid", text="A")
        share = 0.0 if values[0] is None else values.count(values[0]) / len(values)
        outcomes[row.uid, "one"] = one
        outcomes[row.uid, "many"] = replace(one, system="many", samples=json.dumps(values), consistency=share)
    facts = {(row.uid, name): score for row, score in zip(rows, SCORES, strict=True) for name in ("one", "many")}
    scores = RowScores({ROW_SCORE: facts, ERROR: {}, READ: {}})
    return CaseData(rows, ["one", "many"], outcomes, scores, ReportDetails({}, {}), SeenRows({}, {}))


def test_shares_are_those_of_the_answers_read_as_the_one_that_counts(root):
    data = data_of(root)
    [line] = sampled_answers(data, data.rows)
    assert line == SampledAnswers(
        task=data.rows[0].task,
        system="many",
        rows=4,
        answers=(4, 4),
        agreement=pytest.approx((1 + 0.75 + 0.5 + 0) / 4),
        quartiles=(pytest.approx(0.375), pytest.approx(0.8125)),
        right=pytest.approx(0.875),
        others=pytest.approx(0.25),
        unanimous=0.25,
        unread=5 / 16,
    )


def test_without_samples_there_is_no_section_and_with_them_there_is(root, tmp_path):
    (tmp_path / "with").mkdir()
    without = page_of(tmp_path, root)
    assert 'id="samples"' not in without and "#samples" not in without
    page = page_of(tmp_path / "with", root, outcome={"samples": '["x", "y", "x"]', "consistency": 2 / 3})
    assert '<a href="#samples">Agreement of samples</a>' in page
    section = page.partition('id="samples"')[2].partition("</section>")[0]
    assert "67 %" in section and '<td class="number">3</td>' in section
