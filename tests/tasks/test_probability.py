"""Probabilities: what sources write, what models write, and the errors of estimates against reference intervals."""

import json
import math
import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from tests.score.conftest import row
from workflow_scripts import ROOT
from workflow_scripts.core.answers import BadAnswer, Conventions
from workflow_scripts.core.metrics import ScoredAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.probability import answers, baselines, grammar, metrics, reading
from workflow_scripts.tasks.probability.intervals import interval_of

PERCENT = ExpectedFormat(percent=True)
FRACTION = ExpectedFormat()

STRICT = [("25%", 25), ("25 %", 25), ("0.3%", 0.3), ("12.5 percent", 12.5), ("100%", 100), (" 2% ", 2), ("1e-2%", 0.01)]

LENIENT = [
    ("about 25%", 25),
    ("25", 25),
    ("25.5", 25.5),
    ("0.25", 25),
    ("1", 1),
    ("1.0", 100),
    ("0", 0),
    ("~30%", 30),
    ("I would estimate a probability of 30%.", 30),
    ("The probability is 0.3", 30),
    ("Probability: 0.02", 2),
    ("25-42%", 33.5),
    ("25%–42%", 33.5),
    ("25% to 35%", 30),
    ("between 20 and 30 percent", 25),
    ("Between 0.2 and 0.4", 30),
    ("somewhere from 10 % to 20 %", 15),
    ("1 in 1000", 0.1),
    ("1 in 1,000 women", 0.1),
    ("about 1 out of 50", 2),
    ("5 per 100 patients", 5),
    ("1/1000", 0.1),
    ("1/4", 25),
    ("odds of 1:3", 25),
    ("1:9 odds", 10),
    ("odds of 1 to 4", 20),
    ("The odds are 9 to 1 against", 10),
    ("odds of 9:1 in favour", 90),
    ("one in a thousand", 0.1),
    ("one in ten", 10),
    ("fifty percent", 50),
    ("twenty-five percent", 25),
    ("less than 1%", 0.5),
    ("<1%", 0.5),
    ("under 10 %", 5),
    ("more than 90%", 95),
    ("at least 80%", 90),
    ("Final answer: 12%", 12),
    ("**Answer:** 12 %", 12),
    ("\\boxed{2\\%}", 2),
    ("The final answer is $\\boxed{1.96\\%}$.", 1.96),
    ("The sensitivity is 90% and the false positive rate is 5%, so the post-test probability is about 2%.", 2),
    ("With a prevalence of 1/1000 and 5% false positives, the chance is 0.001 / 0.051 = 1.96%.", 1.96),
    ("PPV = 0.001/(0.001+0.04995) = 0.0196, or roughly 2%. Answer: 2%", 2),
    ("Pre-test probability: 30%. After the positive test the probability rises to 55%.", 55),
    ("A 65-year-old woman with 3 days of cough has a 30% chance of pneumonia.", 30),
    ("I am 95% confident that the probability is 30%.", 30),
    ("30% (95% CI 20-40%)", 30),
    ("Step 1: consider the prevalence.\nStep 2: the test is positive.\n3. The likelihood is 40 %.", 40),
    ("40%\n\nThis is because the test has a specificity of 80%.", 40),
    ("The patient's risk of ischaemia is low, approximately 3 percent", 3),
    ("I cannot give an exact figure, but my best estimate is 20%.", 20),
    ("The chance is 2 in 100.", 2),
    ("Likelihood ratio of 10 gives a post-test probability of 0.52", 52),
    ("0.5%", 0.5),
    ("a 0.2% to 0.3% chance", 0.25),
    ('{"probability": 0.35}', 35),
    ('{"probability": "35%"}', 35),
    ("P(disease | positive) ≈ 0.02", 2),
    ("Approximately 0.3% (range 0.2%–0.3%)", 0.3),
    ("0.25 (25%)", 25),
    ("50-50", 50),
    ("roughly one in three", 100 / 3),
    ("Of 1000 people 1 has it and 50 are positive without it. So 1/51 = 1.96%", 1.96),
    ("- 35%", 35),
    ("The answer is between 20% and 30%.", 25),
    ("It has a sensitivity of 95% and a specificity of 90%. I'd put it at 12%.", 12),
]

UNREAD = [
    "",
    "very unlikely",
    "I cannot answer this question.",
    "The sensitivity is 90%.",
    "10% or 80%",
    "150%",
    "It depends on the 45-year-old patient's risk factors.",
    "The test was done in 2019.",
    "-5%",
]


@pytest.mark.parametrize(("text", "value"), STRICT)
def test_a_number_with_a_percent_sign_is_read_strictly(text, value):
    assert reading.read_strict(PERCENT, text) == pytest.approx(value)
    assert reading.read_lenient(PERCENT, text) == pytest.approx(value)


@pytest.mark.parametrize(("text", "value"), LENIENT)
def test_what_a_person_would_understand_is_read_leniently(text, value):
    assert reading.read_lenient(PERCENT, text) == pytest.approx(value)


@pytest.mark.parametrize("text", UNREAD)
def test_what_gives_no_probability_is_not_read(text):
    assert reading.read_strict(PERCENT, text) is None
    assert reading.read_lenient(PERCENT, text) is None


def test_a_fraction_is_read_strictly_where_the_question_wants_one():
    assert reading.read_strict(FRACTION, "0.25") == 25 and reading.read_strict(FRACTION, "25%") is None
    assert reading.read_lenient(FRACTION, "25%") == 25
    expected = answers.expected_format("Give a number between 0 and 1.", Conventions())
    assert not expected.percent and answers.parse([0.25, 0.42], expected).text == "0.335"
    assert answers.expected_format("How likely is pneumonia, in per cent?", Conventions()).percent


@given(st.text(max_size=200))
def test_no_text_breaks_a_reader_and_what_is_read_is_a_probability(text):
    value = reading.read_lenient(PERCENT, text)
    assert value is None or 0 <= value <= 100
    exact = reading.read_strict(PERCENT, text)
    assert exact is None or exact == value


@given(st.floats(0, 100).map(lambda value: round(value, 3)))
def test_the_form_of_the_question_is_read_as_it_is_meant(value):
    for text in (f"{value}%", f"The probability is {value} %.", f"Answer: {value} percent"):
        assert reading.read_lenient(PERCENT, text) == pytest.approx(value)


@pytest.mark.parametrize(
    ("raw", "ends"),
    [
        ("25-42%", (25, 42)),
        ("25% – 42%", (25, 42)),
        ("0.2 to 0.3", (0.2, 0.3)),
        ("<1%", (0, 1)),
        (2, (2, 2)),
        ("2 %", (2, 2)),
        ([25, 42], (25, 42)),
        ({"low": 1, "high": 4.4}, (1, 4.4)),
    ],
)
def test_a_source_writes_a_number_or_an_interval(raw, ends):
    assert tuple(interval_of(raw, percent=True)) == pytest.approx(ends)
    assert answers.parse(raw, PERCENT).text == f"{sum(ends) / 2:g}%"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "no_answer"),
        ("", "no_answer"),
        ("likely", "invalid_number"),
        ("42-25%", "invalid_number"),
        (120, "invalid_number"),
        (float("nan"), "wrong_answer_type"),
        (True, "wrong_answer_type"),
        ([1, 2, 3], "wrong_answer_type"),
        ({"low": 1}, "wrong_answer_type"),
    ],
)
def test_what_is_no_probability_goes_to_quarantine(raw, reason):
    with pytest.raises(BadAnswer) as error:
        answers.parse(raw, PERCENT)
    assert error.value.reason == reason


def scored(low, high, strict, samples=None, uid="u"):
    return ScoredAnswer(uid, "s", uid, "valid", strict, strict, {"low": low, "high": high}, "x", samples=samples)


def values_of(result):
    sums = {name: column.sum(axis=0) for name, column in result.columns.items()}
    return {metric.key[:2]: float(metric.value(sums)) for metric in result.metrics}


def odds(percent):
    return math.log(percent / (100 - percent))


def test_errors_are_distances_to_the_interval_its_middle_and_in_log_odds():
    result = metrics.facts([scored(25, 42, 80.0), scored(25, 42, 30.0), scored(0, 1, 0.0)])
    values = values_of(result)
    assert values["interval_error", "strict"] == pytest.approx(38 / 3)
    assert values["midpoint_error", "strict"] == pytest.approx((46.5 + 3.5 + 0.5) / 3)
    assert values["log_odds_error", "strict"] == pytest.approx((odds(80) - odds(42)) / 3)
    assert values["within_interval", "strict"] == pytest.approx(2 / 3)
    assert values["overestimated", "strict"] == pytest.approx(1 / 3)
    assert list(result.row_scores) == pytest.approx([1 - 38 / 58, 1, 1])
    assert [metric.key for metric in result.metrics if metric.primary] == [("interval_error", "strict", None, None)]
    assert "median_estimate_error" not in {metric.name for metric in result.metrics}


def test_an_estimate_that_cannot_be_read_counts_as_the_worst_and_certainty_is_finite():
    values = values_of(metrics.facts([scored(2, 11, None)]))
    assert values["interval_error", "strict"] == 89 and values["midpoint_error", "strict"] == 93.5
    assert values["log_odds_error", "strict"] == pytest.approx(odds(99.99) - odds(11))
    assert values["within_interval", "strict"] == 0
    assert np.isfinite(values_of(metrics.facts([scored(50, 50, 0.0)]))["log_odds_error", "strict"])


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), min_size=2, max_size=40), st.floats(0, 50), st.floats(0, 50))
def test_median_and_spread_of_draws_are_those_of_numpy_on_what_was_read(draws, low, width):
    result = values_of(metrics.facts([scored(low, low + width, 1.0, samples=draws)]))
    read = np.array([value for value in draws if value is not None])
    if not len(read):
        assert math.isnan(result["median_estimate_error", None])
        return
    outside = max(low - np.median(read), np.median(read) - low - width, 0)
    assert result["median_estimate_error", None] == pytest.approx(outside, abs=1e-9)
    assert result["estimate_iqr", None] == pytest.approx(np.quantile(read, 0.75) - np.quantile(read, 0.25), abs=1e-9)
    assert result["estimate_range", None] == pytest.approx(read.max() - read.min())
    assert result["draws_within_interval", None] == pytest.approx(np.mean((read >= low) & (read <= low + width)))


@pytest.mark.parametrize("expected", [PERCENT, FRACTION], ids=["percent", "fraction"])
@pytest.mark.parametrize(
    "text", ["0%", "0.3%", "42%", "99.999%", "100%", "0", "0.25", "1", "0.0001", "101%", "1.5", "-1", ""]
)
def test_the_grammar_allows_what_the_strict_reader_reads(expected, text):
    matcher = LLMatcher(LLTokenizer("byte"), grammar.grammar(expected, (), 16))
    allowed = matcher.try_consume_tokens(list(text.encode())) == len(text) and matcher.is_accepting()
    assert allowed == (reading.read_strict(expected, text) is not None)


def test_no_text_takes_long_to_read():
    start = time.process_time()
    for text in (" " * 32000 + "5", "\n" * 32000, "1 in " * 6000, "between 1 and " * 2300, "(" * 32000, "1-" * 16000):
        reading.read_lenient(PERCENT, text)
    assert time.process_time() - start < 5  # a pattern that backtracks takes minutes


def test_baselines_answer_in_the_form_that_a_row_wants():
    raws = ("2%", "20-40%", "[25, 42]")
    rows = [row(n, "probability", "", answer_raw=raw, expected=PERCENT) for n, raw in enumerate(map(json.dumps, raws))]
    rows[2] = replace(rows[2], answer_raw="[25, 42]")
    fraction = row(9, "probability", "", answer_raw="0.05", expected=FRACTION)
    assert reading.reference(rows[1]) == {"low": 20, "high": 40} and reading.reference(fraction)["low"] == 5
    assert [baselines.majority(rows)(one) for one in (rows[0], fraction)] == ["30%", "0.3"]
    assert [baselines.constant(rows)(one) for one in (rows[0], fraction)] == ["50%", "0.5"]
    assert baselines.answer_of(rows[2], fraction) == "0.335" and baselines.empty(rows)(rows[0]) == ""


PUBLISHED = {
    ("pneumonia", "before"): (25, 42),
    ("pneumonia", "positive"): (46, 65),
    ("breast cancer", "before"): (0.2, 0.3),
    ("breast cancer", "positive"): (3, 9),
    ("cardiac ischaemia", "before"): (1, 4.4),
    ("cardiac ischaemia", "positive"): (2, 11),
    ("urinary tract infection", "before"): (0, 1),
    ("urinary tract infection", "positive"): (0, 8.3),
    ("hypothetical test", "positive"): (1.96, 2),
}


def test_the_shipped_questions_hold_the_published_intervals_and_the_examples_are_by_bayes():
    folder = ROOT / "config/probability"
    lines = [json.loads(line) for line in (folder / "cases.jsonl").read_text(encoding="utf-8").splitlines()]
    assert {
        (line["case"], line["test"]): tuple(interval_of(line["answer"], percent=True)) for line in lines
    } == PUBLISHED
    examples = [json.loads(line) for line in (folder / "examples.jsonl").read_text(encoding="utf-8").splitlines()]
    for line in examples:
        share, sensitivity, false_positive = (
            line[key] / 100 for key in ("prevalence", "sensitivity", "false_positive")
        )
        positive = share * sensitivity + (1 - share) * false_positive
        truth = {"positive": share * sensitivity / positive, "negative": share * (1 - sensitivity) / (1 - positive)}
        assert line["answer"] == pytest.approx(100 * truth[line["test"]], rel=0.02)
        for key in ("prevalence", "sensitivity", "false_positive"):
            assert f"{line[key]:g} " in line["question"]
    assert len(examples) >= 12 and not {line["case"] for line in examples} & {line["case"] for line in lines}
    assert all(answers.expected_format(line["question"], Conventions()).percent for line in lines + examples)
