"""Entailment, similarity and answers from a text: how they are read, and that their metrics are the libraries'."""

import json

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as oracle

from workflow_scripts.core.answers import BadAnswer, Conventions, Known
from workflow_scripts.core.metrics import ScoredAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.entailment import answers as entailment_answers
from workflow_scripts.tasks.entailment import metrics as entailment_metrics
from workflow_scripts.tasks.entailment import reading as entailment_reading
from workflow_scripts.tasks.entailment.documents import pair_in
from workflow_scripts.tasks.entities.documents import question_about
from workflow_scripts.tasks.similarity import answers as similarity_answers
from workflow_scripts.tasks.similarity import metrics as similarity_metrics
from workflow_scripts.tasks.similarity import reading as similarity_reading
from workflow_scripts.tasks.span_qa import answers as span_answers
from workflow_scripts.tasks.span_qa import metrics as span_metrics
from workflow_scripts.tasks.span_qa import reading as span_reading

NLI = "Does it follow? Choose from: entailment; neutral; contradiction\nPremise: No pain.\nHypothesis: He is well."


def scored(number, reference, strict, lenient=None, *, subset="s", text=None):
    lenient = strict if lenient is None else lenient
    text = json.dumps(strict) if text is None else text
    return ScoredAnswer(f"r{number}", subset, f"c{number}", "valid", strict, lenient, reference, text, "null")


def values(facts, rows=slice(None)):
    """Metrics of some rows by name and reader."""
    sums = facts.unpacked(facts.packed()[rows].sum(axis=0))
    return {(metric.name, metric.reading): float(metric.value(sums)) for metric in facts.metrics}


def test_two_texts_are_named_on_lines_of_their_own():
    assert pair_in(NLI) == ("No pain.", "He is well.")
    assert pair_in("How alike?\nSentence 1: a\nb\nsentence 2:  c") == ("a\nb", "c")
    assert pair_in("Is Premise: one?") == ("Is Premise: one?", None)


def test_the_words_of_entailment_come_from_the_question_the_subset_or_the_task():
    assert entailment_answers.expected_format(NLI, Conventions()).labels == ("entailment", "neutral", "contradiction")
    usual = entailment_answers.expected_format("Does it follow?", Conventions())
    assert usual.labels == ("entailment", "neutral", "contradiction")
    known = Conventions()
    known._known = {("labels", ""): Known(["no", "yes"], "training rows")}
    assert entailment_answers.expected_format("Does it follow?", known).labels == ("no", "yes")
    assert entailment_answers.parse("neutral", usual).labels == ("neutral",)
    assert entailment_answers.fault(entailment_answers.parse("perhaps", usual), usual, 0, 0) is not None


def test_a_class_in_prose_is_read_leniently_alone():
    expected = entailment_answers.expected_format(NLI, Conventions())
    assert entailment_reading.read_strict(expected, " Neutral ") == "neutral"
    assert entailment_reading.read_strict(expected, "It is neutral.") is None
    assert entailment_reading.read_lenient(expected, "The answer is contradiction.") == "contradiction"


def test_accuracy_and_macro_f1_are_scikit_learns():
    rng = np.random.default_rng(3)
    names = np.array(["contradiction", "entailment", "neutral"])
    true, said = names[rng.integers(0, 3, 300)], names[rng.integers(0, 3, 300)]
    computed = values(
        entailment_metrics.facts([scored(n, t, s) for n, (t, s) in enumerate(zip(true, said, strict=True))])
    )
    assert computed["entailment_accuracy", "strict"] == pytest.approx(oracle.accuracy_score(true, said), abs=1e-12)
    assert computed["entailment_macro_f1", "strict"] == pytest.approx(
        oracle.f1_score(true, said, average="macro"), abs=1e-12
    )


def test_a_similarity_is_a_number_of_a_scale():
    expected = similarity_answers.expected_format("How alike, from 0 to 5?", Conventions())
    assert similarity_answers.parse("3.5", expected).number == 3.5
    with pytest.raises(BadAnswer):
        similarity_answers.parse("70%", expected)
    for text, strict, lenient in (
        ("3.5", 3.5, 3.5),
        ("4/5", None, 4.0),
        ("I say 4 out of 5.", None, 4.0),
        ("", None, None),
    ):
        assert similarity_reading.read_strict(expected, text) == strict, text
        assert similarity_reading.read_lenient(expected, text) == lenient, text


def test_correlations_are_scipys_on_each_subset_and_on_all_rows():
    rng = np.random.default_rng(5)
    reference = rng.integers(0, 11, 200) / 2
    given = np.round(reference + rng.normal(0, 1.5, 200), 1)
    subset = np.array(["a", "b"])[rng.integers(0, 2, 200)]
    facts = similarity_metrics.facts([scored(n, reference[n], given[n], subset=subset[n]) for n in range(200)])
    for rows in (slice(None), subset == "a", subset == "b"):
        computed = values(facts, rows)
        for name, function in (("pearson", stats.pearsonr), ("spearman", stats.spearmanr)):
            assert computed[name, "strict"] == pytest.approx(function(reference[rows], given[rows])[0], abs=1e-12), name


def test_pearsons_interval_follows_from_sums_of_resampled_rows():
    rng = np.random.default_rng(6)
    reference, noise = rng.random(50) * 5, rng.normal(0, 1, 50)
    facts = similarity_metrics.facts([scored(n, reference[n], reference[n] + noise[n]) for n in range(50)])
    drawn = rng.integers(0, 50, 50)
    expected = stats.pearsonr(reference[drawn], (reference + noise)[drawn])[0]
    assert values(facts, drawn)["pearson", "strict"] == pytest.approx(expected, abs=1e-12)


def test_an_answer_that_cannot_be_read_counts_as_the_mean_of_the_others():
    reference, given = [0.0, 1.0, 2.0, 5.0, 3.0], [0.5, 1.0, 2.5, None, None]
    facts = similarity_metrics.facts([scored(n, r, g) for n, (r, g) in enumerate(zip(reference, given, strict=True))])
    filled = [np.mean([0.5, 1.0, 2.5]) if value is None else value for value in given]
    assert values(facts)["pearson", "strict"] == pytest.approx(stats.pearsonr(reference, filled)[0], abs=1e-12)
    constant = similarity_metrics.facts([scored(n, r, 2.0) for n, r in enumerate(reference)])
    assert np.isnan(values(constant)["pearson", "strict"]) and np.isnan(values(constant)["spearman", "strict"])


TEXT = "He took aspirin daily. The aspirin was stopped after an ulcer."
EXPECTED = span_answers.expected_format(question_about(TEXT, "What was stopped?"), Conventions())


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("aspirin", "aspirin"),
        (["The aspirin", "aspirin"], "The aspirin"),
        ({"text": "aspirin", "start": 27}, "aspirin"),
        ({"text": ["aspirin", "ulcer"], "answer_start": [8, 56]}, "aspirin"),
        ({"text": [], "answer_start": []}, "unanswerable"),
        ([], "unanswerable"),
    ],
)
def test_sources_write_answers_in_several_forms(raw, text):
    assert span_answers.parse(raw, EXPECTED).text == text


@pytest.mark.parametrize("raw", [{"text": "aspirin", "start": 0}, "ibuprofen", {"text": "aspirin", "start": 900}])
def test_words_that_do_not_stand_in_the_text_are_no_answer(raw):
    with pytest.raises(BadAnswer) as error:
        span_answers.parse(raw, EXPECTED)
    assert error.value.reason == "bad_span"


def test_an_answer_is_words_of_the_text():
    assert span_reading.read_strict(EXPECTED, "The  aspirin") == "The aspirin"
    assert span_reading.read_strict(EXPECTED, "It was the aspirin.") is None
    assert span_reading.read_lenient(EXPECTED, '"aspirin".') == "aspirin"
    assert span_reading.read_lenient(EXPECTED, "Answer: an ulcer") == "an ulcer"
    assert span_reading.read_strict(EXPECTED, "Unanswerable") == "unanswerable"
    assert span_reading.read_strict(ExpectedFormat(), "aspirin") is None


def test_the_best_of_the_right_answers_counts():
    rows = [
        scored(0, ["The aspirin", "aspirin"], "aspirin", text="aspirin"),
        scored(1, ["an ulcer of the stomach"], "ulcer", text="ulcer"),  # 2·1/(1+4): articles count for nothing
        scored(2, ["unanswerable"], "unanswerable", text="unanswerable"),
        scored(3, ["unanswerable"], "aspirin", text="aspirin"),
        scored(4, ["aspirin"], "unanswerable", text="unanswerable"),
    ]
    facts = span_metrics.facts(rows)
    assert facts.row_scores is not None and facts.row_scores.tolist() == [1.0, pytest.approx(0.5), 1.0, 0.0, 0.0]
    computed = values(facts)
    assert computed["span_f1", "strict"] == pytest.approx(2.5 / 5) and computed["span_exact_match", "strict"] == 2 / 5
