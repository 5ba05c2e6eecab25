"""The rule-based judge: what a radiologist expects, abstention, and what it must never do."""

import contextlib
import json
import os
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.core.answers import final_answer
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import ExpectedFormat
from workflow_scripts.judges.crimson import crimson, faults_of
from workflow_scripts.judges.green import CATEGORIES, green
from workflow_scripts.judges.rule_based.findings import read_report
from workflow_scripts.judges.rule_based.judge import Abstains, green_counts, judge_pair, understood
from workflow_scripts.judges.rule_based.lexicon import TABLE, load_lexicon
from workflow_scripts.synthetic import terms
from workflow_scripts.tasks.report.reading import read_strict

LEXICON = load_lexicon()
BUG_INPUTS = "FLAREBENCH_BUG_INPUTS"
"""Names the folder of public faults, with `report_pairs.json`."""
RULES = yaml.safe_load((Path(__file__).parent / "judge_rules.yaml").read_text(encoding="utf-8"))
NORMAL = (
    "Heart size is normal. The lungs are clear. No pleural effusion or pneumothorax. No acute abnormality of the chest."
)
ABNORMAL = [
    "Large left pneumothorax with mediastinal shift.",
    "Small bilateral pleural effusions with bibasilar atelectasis. No pneumothorax.",
    "Moderate cardiomegaly. Mild pulmonary edema. The lungs are otherwise clear.",
    "Right upper lobe mass, 4 cm. Heart size is normal.",
    "Lungs are hyperinflated. No focal consolidation.",
    "Endotracheal tube in the right mainstem bronchus. Heart size is normal.",
    "Stable left lower lobe opacity, likely pneumonia. No effusion.",
    "Healed left rib fractures. No pneumothorax or pleural effusion.",
    *(sentence for sentence in terms.SENTENCES if "ormal" not in sentence),
]


def scores_of(reference: str, hypothesis: str, **context) -> tuple[float, float]:
    reply = judge_pair(reference, hypothesis, {"modality": "Xray"} | context, LEXICON)
    assert faults_of(reply) == []
    return crimson(reply).score, green(green_counts(reply))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["kind"].replace(" ", "-"))
def test_rule(rule):
    forms = (0,) if rule.get("formula") == "crimson" else (0, 1)
    if "abstains" in rule:
        with pytest.raises(Abstains):
            scores_of(rule["reference"], rule["abstains"])
    elif "hypothesis" in rule:
        bounds = rule["crimson"], rule["green"]
        scores = scores_of(rule["reference"], rule["hypothesis"])
        assert all(low <= score <= high for score, (low, high) in zip(scores, bounds, strict=True))
    elif "equal" in rule:
        scores = scores_of(rule["reference"], rule["equal"])
        assert all(scores[form] == 1.0 for form in forms)
    else:
        better, worse = scores_of(rule["reference"], rule["better"]), scores_of(rule["reference"], rule["worse"])
        assert all(better[form] > worse[form] for form in forms)


def test_there_is_a_rule_for_each_kind_of_error():
    assert len({rule["kind"] for rule in RULES}) >= 40


@pytest.mark.parametrize("sentence", terms.SENTENCES)
def test_the_synthetic_reports_are_understood(sentence):
    assert understood(read_report(sentence, LEXICON))


@pytest.mark.parametrize("report", [*ABNORMAL, NORMAL, *terms.SENTENCES])
def test_a_report_against_itself_scores_one(report):
    assert scores_of(report, report) == (1.0, 1.0)


def test_a_constant_normal_report_earns_nothing_on_abnormal_references():
    scores = [scores_of(reference, NORMAL) for reference in ABNORMAL]
    for formula in (0, 1):
        assert sum(score[formula] for score in scores) / len(scores) <= 0.05


def test_an_empty_report_earns_nothing_on_abnormal_references():
    assert max(max(scores_of(reference, "")) for reference in ABNORMAL) <= 0.0


@pytest.mark.parametrize(
    "text",
    [
        "Optic disc cupping with drusen.",
        "Retinal detachment in the left eye.",
        "Sessile polyp in the sigmoid colon, 8 mm.",
        "Large mass in the ascending colon.",
        "Hypoechoic mass in the left breast at 3 o'clock.",
        "Asymmetric pigmented nevus on the left shoulder.",
        "Caries on the distal surface of the lower left molar.",
        "Displaced fracture of the distal radius.",
        "Normal fetal head position.",
        "Red disc in the upper left zone. Blue ring in the lower right zone.",
        "42 year old male patient presented to ED with two day history of fever and mild shortness of breath.",
        "O2 saturation was initially 58% on ambient air, heart rate of 146 and blood pressure of 143/81.",
        "The quick brown fox jumps over the lazy dog.",
        "肺野清晰。",
        "normal",
        "42",
    ],
)
def test_text_outside_the_vocabulary_abstains(text):
    for reference, hypothesis in ((text, "Cardiomegaly."), ("Cardiomegaly.", text), (text, text)):
        with pytest.raises(Abstains):
            scores_of(reference, hypothesis)


@pytest.mark.parametrize("modality", ["Retinography", "Microscopy", "Ultrasound", "CT"])
def test_another_modality_abstains_whatever_is_said(modality):
    with pytest.raises(Abstains):
        scores_of("Cardiomegaly.", "Cardiomegaly.", modality=modality)


def test_an_empty_reference_abstains():
    with pytest.raises(Abstains):
        scores_of("", "Cardiomegaly.")


@given(st.lists(st.sampled_from(ABNORMAL + list(terms.SENTENCES)), min_size=1, max_size=5, unique=True))
def test_any_reports_sentences_in_any_order_score_one(sentences):
    forward, backward = " ".join(sentences), " ".join(reversed(sentences))
    try:
        assert scores_of(forward, backward)[0] >= 0.9
    except Abstains:
        pytest.fail(f"abstained on {forward}")


@pytest.mark.parametrize(
    ("reference", "hypothesis", "category"),
    [
        ("New left pleural effusion.", "Left pleural effusion.", "missing comparison"),
        ("New left pleural effusion.", "Improved left pleural effusion.", "false comparison"),
        ("Left pleural effusion.", "New left pleural effusion.", "false comparison"),
        ("Right pleural effusion.", "Left pleural effusion.", "wrong location"),
        ("Small left pleural effusion.", "Large left pleural effusion.", "wrong severity"),
    ],
)
def test_an_attribute_error_counts_in_its_category_of_green(reference, hypothesis, category):
    reply = judge_pair(reference, hypothesis, {}, LEXICON)
    counts = green_counts(reply)
    assert dict(zip(CATEGORIES, counts.significant, strict=True)) == dict.fromkeys(CATEGORIES, 0) | {category: 1}


@pytest.mark.parametrize(
    "sentence",
    [
        "The image lacks detail to assess for pneumothorax, masses or fractures.",
        "A pneumothorax cannot be excluded from the image because the apices are not included.",
        "Small nodules may not be apparent on this radiograph.",
        "Evaluation for effusion is limited.",
        "If there is concern for a rib fracture, a rib series is recommended.",
        "Rotation limits assessment of the mediastinum for widening.",
        "Indication: pneumonia, rule out effusion.",
        "History of lung cancer.",
    ],
)
def test_a_sentence_on_what_cannot_be_judged_affirms_and_denies_nothing(sentence):
    reading = read_report(sentence, LEXICON)
    assert not reading.findings
    assert not reading.denied


def test_what_hides_the_image_is_still_a_finding():
    reading = read_report("Large left effusion limits evaluation of the left base for consolidation.", LEXICON)
    assert [(finding.name, finding.severity) for finding in reading.findings] == [("pleural effusion", 4)]


@pytest.mark.parametrize(
    ("text", "name", "places"),
    [
        ("Fractures of the left third through sixth ribs.", "rib fracture", {3, 4, 5, 6}),
        ("Fractures of the left 4th, 5th and 9th ribs.", "rib fracture", {4, 5, 9}),
        ("Fractures of left ribs 5-8.", "rib fracture", {5, 6, 7, 8}),
        ("Compression fractures of T12 and L1.", "vertebral fracture", {19, 20}),
        ("Compression deformities of T7-T9.", "vertebral fracture", {14, 15, 16}),
        ("Right rib fracture, 5 mm displaced.", "rib fracture", set()),
    ],
)
def test_ribs_and_vertebrae_are_counted(text, name, places):
    assert [(finding.name, finding.places) for finding in read_report(text, LEXICON).findings] == [(name, places)]


@pytest.mark.parametrize(
    ("text", "misplaced"),
    [
        ("Endotracheal tube tip 4 cm above the carina.", False),
        ("Endotracheal tube tip 1 cm above the carina, should be withdrawn by 3 cm.", True),
        ("Endotracheal tube tip 9 cm above the carina.", True),
        ("Pacemaker leads in the right atrium and right ventricle.", False),
        ("Central line tip in the right atrium.", True),
        ("Nasogastric tube coiled in the stomach.", False),
        ("Nasogastric tube coiled in the esophagus.", True),
    ],
)
def test_a_device_is_in_its_place_or_not(text, misplaced):
    assert [finding.misplaced for finding in read_report(text, LEXICON).findings] == [misplaced]


def test_urgent_inventions_leave_nothing_of_agreed_normals():
    reply = judge_pair(
        "Heart size is normal. No effusion.",
        "Heart size is normal. No effusion. Tension pneumothorax. Aortic dissection. Pneumoperitoneum.",
        {},
        LEXICON,
    )
    assert green_counts(reply).matched == 0
    assert sum(green_counts(reply).significant) == 3


def test_a_pair_takes_few_milliseconds():
    reports = [f"{sentences} {NORMAL}" for sentences in ABNORMAL]
    scores_of(NORMAL, NORMAL)  # the table is compiled once
    start = time.process_time()
    for reference in reports:
        for hypothesis in reports:
            scores_of(reference, hypothesis)
    assert (time.process_time() - start) / len(reports) ** 2 < 0.02  # 1 to 2 ms; a slow machine has its leeway


FAULTS = {
    "as the identical report": "equal",
    "1.0": "equal",
    "a normal report is not worth 0": "worth",
    "judged, not abstained": "judged",
    "no finding is affirmed": "silent",
    "abstains": "abstains",
    "malformed or empty; not valid": "malformed",
}


def test_the_report_pairs_of_the_public_faults_are_judged_as_they_say():
    folder = os.environ.get(BUG_INPUTS)
    if not folder:
        pytest.skip(f"{BUG_INPUTS} does not name the folder of public faults")
    wanted = ""
    wrong = []
    for pair in json.loads((Path(folder) / "report_pairs.json").read_text(encoding="utf-8")):
        wanted = wanted if pair["wanted"] == "the same" else FAULTS.get(pair["wanted"], "abstains")
        reference, hypothesis = pair["reference"], final_answer(pair["hypothesis"]).text
        try:
            scores: tuple[float, float] | None = scores_of(reference, hypothesis)
        except Abstains:
            scores = None
        right = {
            "equal": scores == (1.0, 1.0),
            "worth": scores is not None and min(scores) > 0,
            "judged": scores is not None,
            "silent": not read_report(hypothesis, LEXICON).findings and scores is not None,
            "abstains": scores is None,
            "malformed": read_strict(ExpectedFormat(), hypothesis) is None,
        }
        if not right[wanted]:
            wrong.append((pair["name"], wanted, scores))
    assert wrong == []


@given(st.text(max_size=300), st.text(max_size=300))
def test_no_text_breaks_the_judge(reference, hypothesis):
    with contextlib.suppress(Abstains):
        scores_of(reference, hypothesis)


def test_the_table_is_data_that_a_laboratory_extends(tmp_path):
    source = TABLE.read_text(encoding="utf-8")
    extended = tmp_path / "lexicon.yaml"
    extended.write_text(
        source.replace("findings:\n", "findings:\n  dextrocardia: {terms: [dextrocardia], significance: urgent}\n", 1)
    )
    reading = read_report("Dextrocardia.", load_lexicon(extended))
    assert [finding.name for finding in reading.findings] == ["dextrocardia"]
    broken = tmp_path / "broken.yaml"
    broken.write_text(source.replace("denies: [cardiomegaly]}", "denies: [nothing known]}", 1))
    with pytest.raises(BadFile, match="nothing known"):
        load_lexicon(broken)
