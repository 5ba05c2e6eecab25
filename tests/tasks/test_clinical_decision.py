"""Decisions on abdominal pain: equal to MIMIC-CDM's evaluator on its vectors, and scored by row."""

import json
import time
from pathlib import Path

import numpy as np
import pytest
from llguidance import LLMatcher, LLTokenizer

from tests.score.conftest import row
from workflow_scripts.core.answers import BadAnswer, Conventions
from workflow_scripts.core.metrics import ScoredAnswer
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.tasks.clinical_decision import answers, baselines, grammar, metrics, reading
from workflow_scripts.tasks.clinical_decision.actions import actions_of
from workflow_scripts.tasks.clinical_decision.evaluation import Action, Case, evaluated, similarity
from workflow_scripts.tasks.clinical_decision.guidelines import guidelines
from workflow_scripts.tasks.clinical_decision.negation import is_affirmed

VECTORS = json.loads((Path(__file__).parent / "clinical_decision_vectors.json").read_text(encoding="utf-8"))
ANY = ExpectedFormat()


def case_of(vector):
    known = VECTORS["cases"][vector["case"]]
    lists = ("icd_diagnoses", "procedures_icd9", "procedures_icd10", "procedures_discharge")
    return Case(vector["pathology"], known["discharge_diagnosis"], *(tuple(known[key]) for key in lists))


def actions_in(vector):
    for action in vector["actions"]:
        yield Action(**action | ({"tests": tuple(action["tests"])} if "tests" in action else {}))


def test_the_vectors_hold_both_outcomes_of_every_pathology():
    assert len(VECTORS["decisions"]) > 150 and len(VECTORS["keywords"]) == 400
    outcomes = {(vector["pathology"], vector["scores"]["Diagnosis"]) for vector in VECTORS["decisions"]}
    assert outcomes == {(name, score) for name in guidelines().pathologies for score in (0, 1)}


def test_every_score_and_answer_equals_the_reference_evaluator():
    for vector in VECTORS["decisions"]:
        actions = list(actions_in(vector))
        result = evaluated(case_of(vector), vector["text"], actions)
        acted = bool(actions)  # the reference reads no treatment without an action
        assert {
            "Late Physical Examination": result.examination_late,
            "Physical Examination": result.examination_first,
            "Laboratory Tests": result.laboratory,
            "Imaging": result.imaging,
            "Diagnosis": result.diagnosis,
            "Gracious Diagnosis": result.gracious_diagnosis,
            "Action Parsing": not result.actions_in_form,
            "Treatment Parsing": acted and not result.stated.treatment_form,
            "Diagnosis Parsing": not result.stated.diagnosis_form,
            "Invalid Tools": result.invalid_tools,
            "Rounds": result.rounds,
        } == vector["scores"], vector["text"]
        images = {
            key: [{"region": region, "modality": modality} for region, modality in images]
            for key, images in (("Correct Imaging", result.images), ("Unnecessary Imaging", result.needless_images))
        }
        answered = vector["answers"]
        assert {
            "Diagnosis": result.stated.diagnosis,
            "Treatment": result.stated.treatment if acted else "",
            "Correct Laboratory Tests": result.laboratory_tests,
            "Unnecessary Laboratory Tests": result.needless_tests,
            **images,
            "Treatment Requested": result.treatments_requested if acted else answered["Treatment Requested"],
            "Treatment Required": result.treatments_required if acted else answered["Treatment Required"],
        } == answered, vector["text"]


def test_keywords_are_affirmed_or_denied_as_the_reference_says():
    wrong = [(text, word) for text, word, affirmed in VECTORS["keywords"] if is_affirmed(text, word) != affirmed]
    assert wrong == []


@pytest.mark.parametrize(
    ("word", "other", "percent"),
    [
        ("apendicitis", "appendicitis", 96),
        ("appendectomy", "appendicitis", 67),
        ("", "appendicitis", 0),
        ("a", "a", 100),
    ],
)
def test_similarity_is_that_of_insertions_and_deletions(word, other, percent):
    assert similarity(word, other) == percent


CASE = {
    "pathology": "appendicitis",
    "discharge_diagnosis": "acute appendicitis",
    "icd_diagnoses": ["Acute appendicitis"],
    "procedures_icd9": ["4701"],
}


def test_a_code_of_icd_9_that_is_written_as_text_counts():
    text = answers.parse(CASE, ANY).text
    assert text.startswith("Final Diagnosis: Acute appendicitis\nTreatment: appendectomy; antibiotics")


@pytest.mark.parametrize("pathology", guidelines().pathologies)
def test_the_answer_to_learn_is_right_by_the_evaluator(pathology):
    whole = CASE | {
        "pathology": pathology,
        "icd_diagnoses": ["biliary disease"],
        "procedures_icd9": [4701, 5123, 5491, 4576, 5185],
    }
    for case in (whole, {"pathology": pathology}, json.dumps(whole)):
        text = answers.parse(case, ANY).text
        assert reading.read_strict(ANY, text) == f"Acute {pathology}"
        [scored] = [scored_answer(case, text)]
        result = metrics.facts([scored])
        sums = {name: column.sum(axis=0) for name, column in result.columns.items()}
        assert sums["diagnosis"] == 1 and sums["treatments met"] == sums["treatments needed"] > 0
    assert answers.fault(answers.parse(whole, ANY), ANY, 1, 1) is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (None, "no_answer"),
        ("appendicitis", "wrong_answer_type"),
        ([], "wrong_answer_type"),
        ({"pathology": "gout"}, "answer_not_an_option"),
        (CASE | {"icd_diagnoses": "x"}, "wrong_answer_type"),
    ],
)
def test_a_source_that_describes_no_case_goes_to_quarantine(raw, reason):
    with pytest.raises(BadAnswer) as error:
        answers.parse(raw, answers.expected_format("?", Conventions()))
    assert error.value.reason == reason


@pytest.mark.parametrize(
    ("text", "strict", "lenient"),
    [
        ("Final Diagnosis: Acute appendicitis\nTreatment: surgery", "Acute appendicitis", "Acute appendicitis"),
        ("Diagnosis: appendicitis", None, "appendicitis"),
        ("This is acute appendicitis. It needs surgery.", None, "This is acute appendicitis"),
        ("Final Diagnosis: appendicitis and colitis\nTreatment: x", None, "appendicitis"),
        ("", None, None),
        ("Final Diagnosis:", None, None),
    ],
)
def test_readers_differ_in_what_form_they_take(text, strict, lenient):
    assert reading.read_strict(ANY, text) == strict
    assert (strict or reading.read_lenient(ANY, text)) == lenient


TRANSCRIPT = """Thought: pain.
Action: Physical Examination
Action: Laboratory Tests
Action Input: Complete Blood Count (CBC), Lipid Profile, C-Reactive Protein and 50956
Action: Imaging
Action Input: Abdominal CT
Action: Telephone
Final Diagnosis: Acute appendicitis
Treatment: appendectomy"""


def test_actions_of_a_transcript_are_those_before_the_diagnosis():
    actions = actions_of(TRANSCRIPT)
    assert [action.tool for action in actions] == ["Physical Examination", "Laboratory Tests", "Imaging", "Telephone"]
    assert 51301 in actions[1].tests and 50889 in actions[1].tests and 50956 in actions[1].tests
    assert "Lipid Profile" in actions[1].tests
    assert (actions[2].region, actions[2].modality) == ("Abdomen", "CT") and not actions[3].known
    assert reading.read_strict(ANY, TRANSCRIPT) == "Acute appendicitis"


def scored_answer(case, text, uid="u"):
    strict = None if text is None else reading.read_strict(ANY, text)
    lenient = None if text is None else strict or reading.read_lenient(ANY, text)
    return ScoredAnswer(uid, "s", uid, "valid", strict, lenient, "", text, json.dumps(case))


def values_of(result):
    sums = {name: column.sum(axis=0) for name, column in result.columns.items()}
    return {metric.key: float(metric.value(sums)) for metric in result.metrics}


def test_metrics_are_shares_over_rows_pathologies_and_needed_treatments():
    gallbladder = {"pathology": "cholecystitis"}
    result = metrics.facts(
        [
            scored_answer(CASE, "Final Diagnosis: Appendicitis\nTreatment: antibiotics"),
            scored_answer(CASE, "It is appendicitis."),
            scored_answer(CASE, None),
            scored_answer(gallbladder, "Diagnosis: acute biliary colic\nTreatment plan: fluids"),
        ]
    )
    values = values_of(result)
    assert values["diagnosis_accuracy", None, None, None] == 0.25
    assert values["diagnosis_accuracy", None, None, "appendicitis"] == pytest.approx(1 / 3)
    assert values["mean_diagnosis_accuracy", None, None, None] == pytest.approx(1 / 6)
    assert values["gracious_diagnosis_accuracy", None, None, None] == 0.5
    assert values["diagnosis_in_form", "strict", None, None] == 0.25
    assert values["diagnosis_in_form", "lenient", None, None] == 0.5
    assert values["treatment_requested", None, None, "antibiotics"] == 0.25
    assert values["treatment_requested", None, None, None] == pytest.approx(2 / 11)
    assert values["treatment_out_of_form", None, None, None] == 0.25
    assert [metric.name for metric in result.metrics if metric.primary] == ["diagnosis_accuracy"]
    assert "examination_first" not in {metric.name for metric in result.metrics}
    assert list(result.row_scores) == [1, 0, 0, 0]


def test_metrics_of_actions_are_over_the_rows_that_act():
    result = metrics.facts([scored_answer(CASE, TRANSCRIPT), scored_answer(CASE, "Final Diagnosis: Appendicitis")])
    values = values_of(result)
    assert values["examination_first", None, None, None] == 1
    assert values["laboratory_coverage", None, None, None] == 1
    assert values["imaging_points", None, None, None] == 1
    assert values["needless_tests", None, None, None] == 2  # the lipids, and lipase, which appendicitis does not need
    assert values["invalid_tools", None, None, None] == 1 and values["rounds", None, None, None] == 4
    assert values["diagnosis_accuracy", None, None, None] == 1


def test_what_follows_the_diagnosis_is_no_action():
    assert actions_of("Final Diagnosis: appendicitis\nTreatment: surgery\nAction: Physical Examination") == []


def test_a_treatment_is_read_after_its_last_colon_as_the_reference_does():
    result = evaluated(
        Case("appendicitis"), "Final Diagnosis: appendicitis\nTreatment: first: antibiotics; then: fluids"
    )
    assert result.stated.treatment == "fluids" and not result.stated.treatment_form


def walk(text: str, seed: int, limit: int) -> str:
    """An answer by a random walk through a grammar, a byte a token, that stops only where it must."""
    tokenizer = LLTokenizer("byte")
    matcher, rng, answer = LLMatcher(tokenizer, text), np.random.default_rng(seed), []
    assert not matcher.is_error(), matcher.get_error()
    while True:
        mask = np.unpackbits(np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8), bitorder="little")
        tokens = [int(token) for token in np.flatnonzero(mask) if token != tokenizer.eos_token]
        if not tokens:
            return bytes(answer).decode()
        answer.append(int(rng.choice(tokens)))
        matcher.consume_token(answer[-1])
        assert len(answer) <= limit


@pytest.mark.parametrize("limit", [32, 256])
def test_whatever_the_grammar_allows_is_read_strictly_and_ends_within_the_limit(limit):
    for seed in range(10):
        answer = walk(grammar.grammar(ANY, (), limit), seed, limit)
        assert reading.read_strict(ANY, answer) is not None, answer


@pytest.mark.parametrize("pathology", guidelines().pathologies)
def test_the_grammar_allows_the_answer_to_learn(pathology):
    whole = {"pathology": pathology, "icd_diagnoses": ["biliary"], "procedures_icd9": [4701, 5123, 5491, 4576, 5185]}
    answer = answers.parse(whole, ANY).text.encode()
    matcher = LLMatcher(LLTokenizer("byte"), grammar.grammar(ANY, (), 256))
    assert matcher.try_consume_tokens(list(answer)) == len(answer) and matcher.is_accepting()


HOSTILE = (
    *("Final Diagnosis: " * 1900, "Final Diagnosis: " + "diagnosis is " * 2500, "Diagnosis:" + "other " * 5000),
    *("Final Diagnosis: x\n" + "Treatment " * 3000, "Diagnosis:" + "a." * 15000, "Diagnosis: x" + " " * 30000 + "y"),
    *("Final Diagnosis: " + "patient has " * 2500, "Final Diagnosis: " + "no " * 10000, "Action:" * 4000),
)


def test_no_text_takes_long_to_read_and_to_judge():
    start = time.process_time()
    for text in HOSTILE:
        reading.read_lenient(ANY, text)
        evaluated(Case("diverticulitis"), text)
    assert time.process_time() - start < 10  # a pattern that backtracks takes minutes


def test_baselines_answer_from_training_rows():
    rows = [row(place, "clinical_decision", text) for place, text in enumerate(("b", "a", "b"))]
    assert {baselines.majority(rows)(rows[1]), baselines.constant(rows)(rows[1])} == {"b"}
    assert baselines.empty(rows)(rows[0]) == "" and baselines.answer_of(rows[1], rows[0]) == "a"
