"""The rule-based judge: what a radiologist expects, abstention, and what it must never do."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from workflow_scripts.core.files import BadFile
from workflow_scripts.judges.crimson import crimson, faults_of
from workflow_scripts.judges.green import CATEGORIES, green
from workflow_scripts.judges.rule_based.findings import read_report
from workflow_scripts.judges.rule_based.judge import Abstains, green_counts, judge_pair, understood
from workflow_scripts.judges.rule_based.lexicon import TABLE, load_lexicon
from workflow_scripts.synthetic import terms

LEXICON = load_lexicon()
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
