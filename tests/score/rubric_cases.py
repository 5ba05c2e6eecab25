"""Answers to clinical questions with the score that a reader gives them, written for these tests.

Each diagnosis has five answers, one at each value of the Bond score, by how they were written: the first names it, the
last has nothing near it. So their human scores are known without a panel.
"""

from dataclasses import dataclass

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.rubrics.stated import stated

BOND = (5, 4, 3, 2, 0)


@dataclass(frozen=True)
class GradedCase:
    """One answer, what it is compared with, and a reader's score."""

    question: str
    reference: str
    answer: str
    rubric: str  # as `Row.rubric`
    score: float


DIAGNOSES = (
    (
        "A 34-year-old woman has sudden chest pain and a swollen left calf two weeks after a long flight.",
        "Pulmonary embolism",
        ("pulmonary embolism", "pulmonary infarction", "deep vein thrombosis", "pleurisy", "gout"),
    ),
    (
        "A 61-year-old man has fever, a new murmur and splinter haemorrhages after a dental extraction.",
        "Infective endocarditis of the aortic valve",
        (
            "infective endocarditis of the aortic valve",
            "infective endocarditis of the mitral valve",
            "bacteraemia",
            "rheumatic fever",
            "carpal tunnel syndrome",
        ),
    ),
    (
        "A 22-year-old man has abdominal pain that moved to the right lower quadrant, with fever and rebound.",
        "Acute appendicitis",
        ("acute appendicitis", "perforated appendix", "terminal ileitis", "mesenteric adenitis", "otitis externa"),
    ),
    (
        "A 48-year-old woman has episodes of headache, sweating and a pressure of 220/120 mm Hg.",
        "Phaeochromocytoma",
        (
            "phaeochromocytoma",
            "paraganglioma",
            "an adrenal tumour of another kind",
            "essential hypertension",
            "ankle sprain",
        ),
    ),
    (
        "A 70-year-old man has jaw pain on chewing, a tender temple and a raised sedimentation rate.",
        "Giant cell arteritis",
        ("giant cell arteritis", "Takayasu arteritis", "polymyalgia rheumatica", "trigeminal neuralgia", "scabies"),
    ),
    (
        "A 29-year-old woman has weakness that grows during the day, drooping lids and double vision.",
        "Myasthenia gravis",
        (
            "myasthenia gravis",
            "Lambert-Eaton myasthenic syndrome",
            "botulism",
            "multiple sclerosis",
            "iron deficiency anaemia",
        ),
    ),
    (
        "A 55-year-old man who drinks has severe epigastric pain into the back and a lipase of 2,100 U/l.",
        "Acute pancreatitis",
        ("acute pancreatitis", "chronic pancreatitis", "common bile duct stone", "peptic ulcer", "psoriasis"),
    ),
    (
        "A 19-year-old student has fever, a stiff neck and a purple rash that does not blanch.",
        "Meningococcal meningitis",
        (
            "meningococcal meningitis",
            "pneumococcal meningitis",
            "meningococcal sepsis without meningitis",
            "viral encephalitis",
            "lactose intolerance",
        ),
    ),
)

PLANS = (
    (
        "A patient has sudden chest pain, a swollen calf and a low oxygen saturation. What is the next test?",
        "CT pulmonary angiography",
        ("CT angiography of the pulmonary arteries", "D-dimer and a chest radiograph", "colonoscopy"),
    ),
    (
        "A patient has jaw claudication and a high sedimentation rate. What is done next?",
        "Start prednisolone today and arrange a biopsy of the temporal artery",
        ("prednisolone at once, then biopsy", "refer to rheumatology next month", "prescribe a mouthwash"),
    ),
    (
        "A patient has fever, a new murmur and embolic signs. What is the next test?",
        "Three sets of blood cultures and echocardiography",
        ("blood cultures, three sets, and an echocardiogram", "one blood culture", "an audiogram"),
    ),
    (
        "A patient has a stiff neck, fever and a purpuric rash. What is done first?",
        "Ceftriaxone at once, then lumbar puncture",
        ("ceftriaxone immediately, lumbar puncture after it", "lumbar puncture, then wait", "oral iron"),
    ),
)

ITEMS = {"rubric": "management", "items": [
    {"name": "treatment", "text": "gives an anticoagulant in a full dose", "points": 50},
    {"name": "tests", "text": "orders CT pulmonary angiography", "points": 30},
    {"name": "tests", "text": "looks for a cause of the thrombosis", "points": 20},
]}  # fmt: skip
LIST = [
    {"text": "tells the patient to seek help at once if breathing gets worse", "points": 5},
    {"text": "asks about bleeding before an anticoagulant is given", "points": 3},
    {"text": "recommends an antibiotic that nobody needs", "points": -4},
]
MANAGED = (
    ("Heparin in a full dose, CT pulmonary angiography, and a search for a cause: flight, pill, cancer.", 100, 0.0),
    ("I would order CT pulmonary angiography and ask about bleeding.", 30, 3 / 8),
    ("Amoxicillin for a week. Come back at once if your breathing gets worse.", 0, 1 / 8),
    ("Full-dose enoxaparin. Any bleeding in the past? Call an ambulance if you get more breathless.", 50, 1.0),
)
REASONED = (
    ("PE.", 0),
    ("Pulmonary embolism, then pneumonia, then pleurisy, in this order.", 2),
    (
        "A 34-year-old woman with acute pleuritic pain and unilateral leg swelling after immobility, which together "
        "suggest venous thromboembolism. 1. Pulmonary embolism: the calf and the flight. 2. Pneumonia: less likely, as "
        "there is no fever and no cough.",
        10,
    ),
)


def cases() -> list[GradedCase]:
    """All of them, in their order."""
    listed = [
        GradedCase(f"{text} What are the most likely diagnoses?", truth, _list(answer), canonical_json("bond"), score)
        for text, truth, answers in DIAGNOSES
        for answer, score in zip(answers, BOND, strict=True)
    ]
    listed += [
        GradedCase(question, truth, f"I suggest: {answer}.", canonical_json("likert"), score)
        for question, truth, answers in PLANS
        for answer, score in zip(answers, (2, 1, 0), strict=True)
    ]
    question = DIAGNOSES[0][0]
    for answer, points, share in MANAGED:
        reference = "Anticoagulation in a full dose, CT pulmonary angiography, search for a cause."
        listed.append(GradedCase(f"{question} How do you manage her?", reference, answer, stated(ITEMS).text(), points))
        listed.append(GradedCase(f"{question} What do you tell her?", reference, answer, stated(LIST).text(), share))
    listed += [
        GradedCase(f"{question} Write your assessment.", "Pulmonary embolism", answer, canonical_json("r_idea"), score)
        for answer, score in REASONED
    ]
    return listed


def _list(named: str) -> str:
    """A differential diagnosis that names one thing, and two that fit nothing here."""
    return f"1. {named[0].upper()}{named[1:]}\n2. Vitamin C deficiency\n3. Anxiety"
