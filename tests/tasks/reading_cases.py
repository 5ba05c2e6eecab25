"""Answers as models write them, with what they state: the value, or None where they state no single one.

`exact` holds texts in the form that was asked for (strict and lenient readings agree), `stated` texts that state a value in
another form, `silent` texts that state none. All but `LATER` were written before the readers were looked at.
"""
# ruff: noqa: E501

import string
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from workflow_scripts.core.answers import Value
from workflow_scripts.core.rows import ExpectedFormat, Option

Wanted = (
    float
    | str
    | list[str]
    | list[tuple[float, float, float, float]]
    | dict[str, list[tuple[float, float, float, float]]]
)


class Form(NamedTuple):
    """A task and the form of answer that a question asks for."""

    task: str
    expected: ExpectedFormat = ExpectedFormat()


class Case(NamedTuple):
    """An answer with the wanted readings; boxes are corners."""

    form: Form
    text: str
    strict: Wanted | None
    lenient: Wanted | None
    why: str


def exact(form: Form, why: str, wanted: Mapping[str, Wanted]) -> list[Case]:
    return [Case(form, text, value, value, why) for text, value in wanted.items()]


def stated(form: Form, why: str, wanted: Mapping[str, Wanted]) -> list[Case]:
    return [Case(form, text, None, value, why) for text, value in wanted.items()]


def silent(form: Form, why: str, texts: Iterable[str]) -> list[Case]:
    return [Case(form, text, None, None, why) for text in texts]


def options(*texts: str) -> tuple[Option, ...]:
    return tuple(Option(letter, text) for letter, text in zip(string.ascii_uppercase, texts, strict=False))


def canonical(value: Value | Wanted | None) -> object:
    """A reading as it is compared: labels in any order, boxes as tuples."""
    if isinstance(value, dict):
        return {identity: [tuple(box) for box in boxes] for identity, boxes in value.items()}
    if isinstance(value, list):
        return sorted(item if isinstance(item, str) else tuple(item) for item in value)
    return value


COUNT = Form("counting")
PERCENT = Form("regression", ExpectedFormat(percent=True))
NUMBER = Form("regression")
LETTER = Form("classification", ExpectedFormat("letter", options("Benign", "Malignant", "Normal")))
GRADES = Form(
    "classification", ExpectedFormat("letter", options("No DR", "Mild NPDR", "Moderate NPDR", "Severe NPDR", "PDR"))
)
CARE = Form("classification", ExpectedFormat("letter", options("No treatment", "Phototherapy")))
SUBTYPES = Form(
    "classification",
    ExpectedFormat("words", options("Luminal A", "Luminal B", "HER2-enriched", "Triple negative")),
)
WORDS = Form("classification", ExpectedFormat("words", labels=("Benign", "Malignant", "Mass", "Calcification", "Both")))
CHEST = Form(
    "multi_label",
    ExpectedFormat(
        labels=("Mass", "Nodule", "Pleural Effusion", "Pneumothorax", "Cardiomegaly", "Calcification",
                "Aortic Calcification", "Normal"),
        separator=";",
    ),
)  # fmt: skip
TREATMENTS = "Endodontic Treatment, Restorative Treatment, and Complications"
DENTAL = Form("multi_label", ExpectedFormat(labels=("Caries", "Crown", TREATMENTS), separator=","))
CORNERS = Form("detection", ExpectedFormat(box_convention="xyxy", width=800, height=600))
SIZES = Form("detection", ExpectedFormat(box_convention="xywh", width=800, height=600))
CHROMOSOMES = Form(
    "instance_detection",
    ExpectedFormat(labels=(*map(str, range(1, 23)), "x", "y"), box_convention="xywh", width=1200, height=900),
)
REPORT = Form("report")
OPEN = Form("open_vqa")
YES_NO = Form("closed_vqa", ExpectedFormat(answer_by="words", labels=("Yes", "No")))
SIDES = Form("closed_vqa", ExpectedFormat(answer_by="words", labels=("left", "right", "both")))

P, Q = (100, 120, 200, 240), (300, 100, 420, 260)  # boxes by corners
R, S = (100, 100, 140, 160), (300, 200, 350, 270)  # [100,100,40,60] and [300,200,50,70] by corners
ONE, TWO = "[100, 100, 40, 60]", "[300, 200, 50, 70]"

COUNTING = [
    *exact(COUNT, "digits alone", {"42": 42, " 42\n": 42, "0": 0, "1500": 1500, "45<end_of_turn>": 45}),
    *exact(
        COUNT,
        "a thought is no part of the answer",
        {
            "<think>12 on the left, 9 on the right.</think>\n21": 21,
            "<unused94>thought\nMaybe 12, maybe 15.\n<unused95>14": 14,
            "So 12 and 2 more.</think>14": 14,
            "45<end_of_turn>\n<start_of_turn>user\nAnd 12 more?": 45,
        },
    ),
    *stated(COUNT, "after the thought", {"<unused94>thought\n12 cells?<unused95>\nAbout 14 cells.": 14}),
    *silent(COUNT, "a thought that never ends", ["<think>I see 12 cells on the left", "<unused94>thought\n12, 13, 14"]),
    *stated(
        COUNT,
        "one number, in words or signs around it",
        {
            "12.0": 12, "24 cells.": 24, "approximately 150 cells": 150, "~150": 150, "≈ 87 nuclei": 87,
            "Cell count = 31": 31, "n = 31": 31, "**63**": 63, "Final answer: **63**": 63, "$\\boxed{63}$": 63,
            "**Answer:** 63 cells": 63, "The cell count is approximately 1,250.": 1250, "- 45": 45, "* 45": 45,
            "```\n10\n```": 10, '{"count": 42}': 42, '{"cell_count": 42, "confidence": 0.9}': 42, "[42]": 42,
            "There are twelve cells.": 12, "57 ± 3 cells": 57,
        },
    ),
    *stated(COUNT, "the same number again", {"10\n10\n10": 10, "10\n```\n10\n```\n```\n10": 10, "42 cells. Answer: 42": 42}),
    *stated(
        COUNT,
        "thousands, spaces and words of size",
        {
            "1,024": 1024, "12,345 cells": 12345, "1\u202f024": 1024, "1\u00a0024 cells": 1024, "1\u2009024 nuclei": 1024,
            "1'024 cells": 1024, "1.5 million": 1_500_000, "3 thousand cells": 3000, "2.5k cells": 2500,
        },
    ),
    *silent(
        COUNT,
        "a range or alternatives",
        [
            "30 to 40 cells", "30–40", "30 - 40 cells", "Between 30 and 40.", "between about 30 and 40 cells",
            "from 100 up to 120 nuclei", "Answer: 30 or 31", "Count: 28-35", "12, 14, 16", "Maybe 30, maybe 40.", "12\n15",
            "There are 12, 15 and 20 cells in the three fields.", "30 or possibly 40 cells", "1,000-1,200 cells",
        ],
    ),
    *stated(
        COUNT,
        "a value with its range beside it",
        {"Count: 31 (range 28-35)": 31, "The answer is 31, with 28 to 35 as the plausible range.": 31},
    ),
    *stated(
        COUNT,
        "the result of an equation",
        {
            "12 + 30 = 42": 42, "7 × 8 = 56 cells": 56, "3*20=60": 60, "20 + 15 + 7 = 42.": 42,
            "Left 12, right 15, so 12 + 15 = 27": 27, "4 rows of 6 cells = 24": 24,
        },
    ),
    *silent(COUNT, "an unfinished equation or power", ["12 + 30", "12 + 30 =", "10^3", "10³ cells", "2^5"]),
    *stated(
        COUNT,
        "numbers of figures, fields, scales and stains are no counts",
        {
            "Image 3 at 40x shows 42 cells.": 42, "Figure 2: 88 nuclei": 88, "At 400× magnification I count 31 cells.": 31,
            "Fig. 1B contains 19 cells.": 19, "In the 512x512 image there are 77 nuclei.": 77,
            "The image measures 1024 × 768 pixels and shows 210 cells.": 210, "Scale bar 50 µm; 36 cells.": 36,
            "Panel 4: 42 cells": 42, "Ki-67 positive cells: 23": 23, "CD4 staining shows 23 cells": 23,
            "In 3 clusters there are 42 cells.": 42, "Total number of cells: 42\n\nNote: counted in 2 passes.": 42,
            "63 cells (95% confidence)": 63,
        },
    ),
    *stated(
        COUNT,
        "the total among its parts",
        {
            "I count 63 cells, 14 of which are dividing.": 63, "1) Left: 12\n2) Right: 15\nTotal: 27": 27,
            "Total: 27\n- left: 12\n- right: 15": 27, "There are 42 cells in total (20 large, 22 small).": 42,
            "Upper half 20, lower half 22, 42 in total.": 42,
        },
    ),
    *silent(COUNT, "parts without a total", ["1. Cells in the left half: 12\n2. Cells in the right half: 15"]),
    *stated(
        COUNT,
        "a number that is taken back is not the answer",
        {"First I thought 12, but the answer is 15.": 15, "Not 12 but 15 cells.": 15, "Not 12. The answer is 15.": 15},
    ),
    *silent(
        COUNT,
        "a refusal has no number",
        [
            "I cannot count the 12 cells at the border reliably.", "Unable to provide an exact count at 20x.",
            "I'm sorry, but I can't give a number from 1 image.", "It is not possible to count the cells at 40x.",
            "I cannot calculate this. You would need:\n\n1. A sharper image\n2. A scale bar\n3. A stain",
            "As an AI model, I am not able to count. Typical fields hold 100 cells.", "It is impossible to say; 2 reasons:",
            "Counting cells is beyond my abilities. 1 option is to ask a pathologist.",
        ],
    ),
    *stated(
        COUNT,
        "an estimate after a reservation is stated",
        {
            "I cannot give an exact count, but I estimate about 120 cells.": 120,
            "It is difficult to count exactly, but there are approximately 65 cells.": 65,
            "I cannot see all borders clearly. Final answer: 80": 80,
        },
    ),
    *silent(COUNT, "no number", ["", "N/A", "unknown", "NaN", "many cells", '{"count": null}', "12345678901", "1 2 3 4 5"]),
]  # fmt: skip

REGRESSION = [
    *exact(
        PERCENT,
        "a decimal number, with or without percent",
        {"18.5%": 18.5, "18.5": 18.5, " 18.5 %\n": 18.5, "0%": 0, "100%": 100, "-3.2%": -3.2, ".75": 0.75, "22": 22},
    ),
    *exact(NUMBER, "exponents of plain numbers", {"3e-4": 0.0003, "2.5E-3": 0.0025}),
    *exact(
        PERCENT,
        "a thought is no part of the answer",
        {"<think>3 of 12 mm, so 25%?</think>24.5%": 24.5, "<unused94>thought\n20-30%\n<unused95>\n24%": 24},
    ),
    *silent(PERCENT, "a thought that never ends", ["<unused94>thought\n25%, because"]),
    *stated(
        PERCENT,
        "one number, in words or signs around it",
        {
            "22.5%.": 22.5, "~22.5": 22.5, "≈22.5 %": 22.5, "ABR = 25.0%": 25, "The ABR% is 25.": 25, "25 per cent": 25,
            "approx. 25%": 25, "18,5%": 18.5, "−3.2%": -3.2, "$22.5\\%$": 22.5, "$\\boxed{22.5\\%}$": 22.5, "**22.5%**": 22.5,
            '{"ABR%": 22.5}': 22.5, '{"abr": "22.5%"}': 22.5, "22.5%\n22.5%": 22.5, "18.5% ± 2%": 18.5,
        },
    ),
    *stated(NUMBER, "separators", {"1,234.5": 1234.5, "0,5": 0.5, "Bone age 6.4 years": 6.4}),
    *silent(
        PERCENT,
        "a range or alternatives",
        [
            "20-30%", "20% to 30%", "20 – 30 %", "Between 20% and 30%.", "20~30%", "20%-30%", "20% or 25%", "ABR: 20-25 %",
            "The bone loss ranges from 20% to 30%.", "Mesial 20%, distal 30%.", "One root shows 20%, the other 30%.",
        ],
    ),
    *stated(
        PERCENT,
        "numbers of teeth, stages and figures are no measures",
        {
            "Teeth 36 and 37 show 25% bone loss.": 25, "Tooth #19 has 32% loss": 32, "Tooth 46 (FDI): 28.4%": 28.4,
            "Stage 3 periodontitis, 45% bone loss": 45, "Figure 2: 18%": 18, "On this 2D radiograph the ABR is 18%.": 18,
            "Teeth 11, 12 and 21: ABR 18%": 18, "The 2 roots of tooth 36 show 21.5 % loss": 21.5,
        },
    ),
    *stated(
        PERCENT,
        "the result of a calculation",
        {
            "4 mm of 12 mm, so 4/12 = 33.3%": 33.3, "3 mm / 12 mm × 100 = 25%": 25, "(4 ÷ 16) * 100 = 25": 25,
            "Bone loss 4 mm, root length 16 mm → 25%": 25, "1/3 of the root length, i.e. 33%": 33,
            "(5.0 - 2.0) / (14.0 - 2.0) x 100 = 25.0 %": 25, "ABR% = 3/12 × 100% = 25%": 25,
        },
    ),
    *silent(PERCENT, "a fraction alone", ["1/3", "4/12", "About one third of the root."]),
    *stated(
        PERCENT,
        "the named or final value among others",
        {
            "Mesial 20%, distal 30%, mean 25%.": 25, "Average 25% (mesial 20%, distal 30%)": 25, "Not 20% but 35%.": 35,
            "ABR: 22.5%\nConfidence: 80%": 22.5, "EF = 55%, EDV = 120 ml": 55, "ABR is 22% (range 20-25%).": 22,
        },
    ),
    *silent(
        PERCENT,
        "a refusal has no number",
        [
            "I cannot measure the ABR%; values above 15% mean stage II.",
            "Unable to calculate. ABR% = (CEJ-AC − 2 mm) / (root length − 2 mm) × 100",
            "As an AI I can't provide a measurement with 100% accuracy.",
            "Without a scale I cannot say; typical values are 10% to 20%.",
            "I cannot calculate the ABR% from this image. You would need:\n\n1. The CEJ\n2. The root apex",
            "It is not possible to determine the percentage. Below 15% is mild.",
        ],
    ),
    *stated(
        PERCENT,
        "an estimate after a reservation is stated",
        {
            "An exact value cannot be measured, but the estimate is 22%.": 22,
            "I cannot be certain. My best estimate is 22%.": 22,
        },
    ),
    *silent(PERCENT, "no number", ["", "mild", "N/A", "nan", "inf", "%"]),
]  # fmt: skip

CLASSIFICATION = [
    *exact(LETTER, "the letter alone", {"A": "A", "b": "B", " C \n": "C", "C<end_of_turn>": "C"}),
    *exact(
        LETTER,
        "a thought is no part of the answer",
        {
            "<think>A? It is not B.</think>C": "C",
            "<unused94>thought\nThe answer is A.\n<unused95>\nB": "B",
            "Option A is out.</think>\n\nB": "B",
        },
    ),
    *silent(LETTER, "a thought that never ends", ["<think>The answer is A", "<unused94>thought\nB) Malignant"]),
    *silent(LETTER, "no option", ["D", "T", "", "The answer is $\\boxed{D}$", "Z) Malformed", "?", "Yes"]),
    *stated(
        LETTER,
        "the letter in another dress",
        {
            "B)": "B", "(B)": "B", "[B]": "B", "B:": "B", "B.": "B", "**B**": "B", "`B`": "B", '"B"': "B", "$B$": "B",
            "$\\boxed{B}$": "B", "\\boxed{\\text{B}}": "B", "\\(\\boxed{B}\\)": "B", "Option B": "B", "option b": "B",
            "Choice B": "B", "Answer: B": "B", "answer B": "B", "The answer is (B)": "B", "The correct answer is option B.": "B",
            "Final Answer: The final answer is $\\boxed{B}$": "B", "The answer is: **B. Malignant**": "B", "B\nB\nB": "B",
            "B) Malignant": "B", "B. Malignant\nThe margins are spiculated.": "B", "C - Normal": "C", "C – Normal": "C",
            "C: Normal": "C", "I would go with C.": "C", "I choose (A).": "A", "My pick: A": "A", "I think it is B": "B",
            "Probably B": "B", '{"answer": "B"}': "B", "{'answer': 'B'}": "B", '["B"]': "B", "**Option C**": "C",
            "**Answer:** C": "C", "Therefore, the answer is:\n\n**C**": "C", "# Answer\nC": "C",
        },
    ),
    *stated(
        LETTER,
        "a letter that is said to be right",
        {
            "B is correct.": "B", "B is the best answer.": "B", "C is correct; A is wrong.": "C",
            "A is incorrect. B is incorrect. C is correct.": "C", "Option A is wrong, option C is wrong, so the answer is B": "B",
            "The correct option is C, because no lesion is seen.": "C", "Answer B because A lacks spicules.": "B",
        },
    ),
    *stated(
        LETTER,
        "the words of an option",
        {
            "Malignant": "B", "MALIGNANT": "B", "malignant lesion": "B", "The lesion is most likely benign.": "A",
            "A malignant tumour is seen.": "B", "A benign lesion is seen.": "A", "A normal ultrasound.": "C",
            "I see a malignant mass in the image.": "B",
        },
    ),
    *stated(
        LETTER,
        "what is denied is not the answer",
        {
            "Not A but B": "B", "B, not A.": "B", "It is not A. The answer is C": "C", "Benign, not malignant.": "A",
            "Neither benign nor normal; this is malignant.": "B", "There are no malignant features; benign.": "A",
            "There is no evidence of malignant change. The lesion is benign.": "A", "It isn't malignant but benign.": "A",
            "Benign rather than malignant": "A", "Malignant instead of benign": "B", "Malignant is ruled out; it is benign.": "A",
            "Benign can be ruled out. Malignant.": "B", '{"A": false, "B": true, "C": false}': "B",
            "Benign: no\nMalignant: yes\nNormal: no": "B", "The lesion is non-malignant, i.e. benign.": "A",
        },
    ),
    *silent(
        LETTER,
        "a denial alone names no answer",
        ["It is not malignant.", "This is not benign.", "Answer: not A", "Non-malignant", "B is wrong."],
    ),
    *silent(
        LETTER,
        "alternatives",
        [
            "A or B", "A and B", "A/B", "A, B", "Either A or C", "Between B and C", "Benign or malignant", "A\nB",
            "Could be benign, could be malignant.", "Answer: B) Malignant or C) Normal", "It is either benign or malignant.",
            "Both A and C are possible.", "The answer is A or B.", "It is difficult to classify this as malignant or benign.",
        ],
    ),
    *stated(
        LETTER,
        "the likelier one",
        {
            "Most likely malignant, although benign cannot be excluded.": "B",
            "Likely malignant": "B",
            "B is most likely; C is unlikely.": "B",
        },
    ),
    *silent(
        LETTER,
        "a refusal or a repeated list of the options",
        [
            "I cannot determine whether this is benign, malignant or normal.",
            "The options are A) Benign, B) Malignant, C) Normal. I am unable to choose.",
            "A) Benign\nB) Malignant\nC) Normal",
            "I'm sorry, I can't help with that. A doctor should look at it.",
            "I am unable to say whether the lesion is malignant.",
            "As an AI, I cannot diagnose. A biopsy is needed.",
            "It is impossible to tell from one image if this is benign.",
            "I cannot choose between A, B and C.",
            "There is not enough information to call it malignant.",
        ],
    ),
    *stated(
        LETTER,
        "an answer beside a list or a reservation",
        {
            "A) Benign\nB) Malignant\nC) Normal\n\nAnswer: B": "B",
            "I cannot tell with certainty, but the most likely is B.": "B",
            "I cannot answer the question from the image alone.\nFinal Answer: A": "A",
            "While benign is possible, the answer is malignant.": "B",
        },
    ),
    *silent(LETTER, "an article is no letter", ["A lesion is seen in the left breast.", "I see a mass.", "a dark area"]),
    *stated(
        GRADES,
        "options within options",
        {
            "Mild NPDR": "B", "PDR": "E", "No DR": "A", "There is no DR.": "A", "Not PDR; moderate NPDR.": "C",
            "Moderate NPDR, not severe NPDR": "C", "moderate npdr": "C", "**D. Severe NPDR**": "D", "Severe-NPDR": "D",
            "The grade is PDR.": "E", "This is severe NPDR without PDR.": "D",
        },
    ),
    *silent(GRADES, "no single grade", ["NPDR", "Moderate to severe NPDR", "Mild or moderate NPDR", "diabetic retinopathy"]),
    *stated(CARE, "an option that denies", {"No treatment is required.": "A", "Phototherapy is indicated.": "B"}),
    *silent(CARE, "a refusal", ["It is not clear whether phototherapy is needed.", "I cannot say if phototherapy is required."]),
    *exact(SUBTYPES, "the words alone", {"Luminal A": "Luminal A", "luminal b": "Luminal B", "HER2-ENRICHED": "HER2-enriched"}),
    *exact(WORDS, "the words alone", {"Both": "Both", "mass": "Mass"}),
    *stated(
        SUBTYPES,
        "the words of one option",
        {
            "Luminal-A": "Luminal A", "HER2 enriched": "HER2-enriched", "HER2-enriched.": "HER2-enriched",
            "Triple-negative breast cancer": "Triple negative", "The subtype is Luminal B, not Luminal A.": "Luminal B",
            "**Luminal B**": "Luminal B", "Answer: triple negative": "Triple negative", "LUMINAL B subtype": "Luminal B",
        },
    ),
    *silent(
        SUBTYPES,
        "no single option",
        ["Luminal", "Luminal A/B", "Luminal A or B", "Not HER2-enriched", "HER2-negative", "Luminal A or Luminal B", ""],
    ),
    *stated(
        WORDS,
        "plural and denial",
        {
            "Calcifications": "Calcification", "masses": "Mass", "No mass; calcifications are seen.": "Calcification",
            "Mass without calcification": "Mass", "The abnormality appears to be a **mass**.": "Mass",
            "Therefore, the answer is:\n\nMass": "Mass", '"Mass"': "Mass",
        },
    ),
    *silent(WORDS, "another word", ["A massive haematoma", "massage", "unclear", "I cannot see a mass well enough to say."]),
]  # fmt: skip

MULTI_LABEL = [
    *exact(
        CHEST,
        "labels and separators",
        {
            "Mass; Nodule": ["Mass", "Nodule"], "mass;nodule": ["Mass", "Nodule"], " Mass ;  Nodule \n": ["Mass", "Nodule"],
            "Mass": ["Mass"], "Mass; Mass": ["Mass"], "Mass;": ["Mass"], "": [], "None": [], "none": [],
            "PLEURAL EFFUSION; NODULE": ["Pleural Effusion", "Nodule"], "Normal": ["Normal"],
            "Aortic Calcification; Calcification": ["Aortic Calcification", "Calcification"],
        },
    ),
    *exact(DENTAL, "a label with commas", {f"{TREATMENTS}, Crown": [TREATMENTS, "Crown"], "Crown,Caries": ["Crown", "Caries"]}),
    *exact(CHEST, "a thought is no part of the answer", {"<think>Nodule? Mass? No.</think>Cardiomegaly": ["Cardiomegaly"]}),
    *silent(CHEST, "a thought that never ends", ["<think>Mass; Nodule"]),
    *stated(
        CHEST,
        "labels in another dress",
        {
            "Mass, Nodule": ["Mass", "Nodule"], "Mass; Nodule.": ["Mass", "Nodule"], "Mass and Nodule": ["Mass", "Nodule"],
            "- Mass\n- Nodule": ["Mass", "Nodule"], "1. Mass\n2. Nodule": ["Mass", "Nodule"], "None.": [],
            "**Mass**; **Nodule**": ["Mass", "Nodule"], '["Mass", "Nodule"]': ["Mass", "Nodule"], '{"labels": ["Mass"]}': ["Mass"],
            "Findings: Mass; Nodule": ["Mass", "Nodule"], "Nodules; masses": ["Nodule", "Mass"], "Pleural-effusion": ["Pleural Effusion"],
            "pleural_effusion": ["Pleural Effusion"], "A massive pleural effusion.": ["Pleural Effusion"],
            "Aortic calcifications": ["Aortic Calcification"], "Abnormal: mass": ["Mass"], "Mass; Fracture": ["Mass"],
            "<think>Mass</think>Nodule.": ["Nodule"],
        },
    ),
    *stated(
        CHEST,
        "what is denied before it",
        {
            "No mass. A nodule is present.": ["Nodule"], "No mass or nodule; pleural effusion present.": ["Pleural Effusion"],
            "No mass, nodule, or pneumothorax.": [], "Neither mass nor nodule is seen. Cardiomegaly.": ["Cardiomegaly"],
            "There is no mass, no nodule and no pneumothorax.": [], "No mass, but a nodule is seen.": ["Nodule"],
            "Without pneumothorax, with cardiomegaly": ["Cardiomegaly"], "Negative for mass, positive for nodule.": ["Nodule"],
            "Positive for nodule, negative for mass.": ["Nodule"], "No evidence of mass or nodule": [], "Not normal: mass": ["Mass"],
            "The lungs are free of masses. Cardiomegaly.": ["Cardiomegaly"], "Cardiomegaly without pleural effusion.": ["Cardiomegaly"],
            "Absent: Mass, Nodule\nPresent: Cardiomegaly": ["Cardiomegaly"], "No pleural effusion, pneumothorax or mass. Nodule.": ["Nodule"],
        },
    ),
    *stated(
        CHEST,
        "what is denied after it",
        {
            "Mass is absent; nodule is present.": ["Nodule"], "Mass: no\nNodule: yes": ["Nodule"], "Mass – No\nNodule – Yes": ["Nodule"],
            "Mass (absent), Nodule (present)": ["Nodule"], "A mass has been ruled out. Nodule.": ["Nodule"], "Pneumothorax is not identified.": [],
            "Pneumothorax: none. Cardiomegaly.": ["Cardiomegaly"], "Mass and nodule are not seen.": [], "Mass: negative; Nodule: positive": ["Nodule"],
            "Mass isn't present. Nodule.": ["Nodule"], "Mass=0; Nodule=1": ["Nodule"], "Mass: False, Nodule: True": ["Nodule"],
            "Present: Cardiomegaly. Absent: Mass, Nodule.": ["Cardiomegaly"], "**Mass:** Absent\n**Nodule:** Present": ["Nodule"],
        },
    ),
    *stated(
        CHEST,
        "JSON says yes or no",
        {
            '{"Mass": true, "Nodule": false}': ["Mass"], '{"Mass": "yes", "Nodule": "no"}': ["Mass"], '{"Mass": 1, "Nodule": 0}': ["Mass"],
            '{"Mass": null, "Nodule": "present"}': ["Nodule"], "{'Mass': False, 'Nodule': True}": ["Nodule"],
            '{"present": ["Mass"], "absent": ["Nodule"]}': ["Mass"], '{"findings": {"Mass": true, "Nodule": false}}': ["Mass"],
            '[{"label": "Mass", "present": true}, {"label": "Nodule", "present": false}]': ["Mass"],
            '{"Mass": true, "Nodule": fal': ["Mass"], '```json\n{\n  "Mass": false,\n  "Nodule": true\n}\n```': ["Nodule"],
            '{"Mass": false, "Nodule": false}': [],
        },
    ),
    *stated(
        CHEST,
        "tables and boxes to tick",
        {
            "| Finding | Present |\n|---|---|\n| Mass | Yes |\n| Nodule | No |": ["Mass"], "| Mass | ✓ |\n| Nodule | ✗ |": ["Mass"],
            "| Mass | absent |\n| Nodule | present |": ["Nodule"], "[x] Mass\n[ ] Nodule": ["Mass"], "- [ ] Mass\n- [x] Nodule": ["Nodule"],
            "☑ Mass\n☐ Nodule": ["Mass"],
        },
    ),
    *stated(
        CHEST,
        "what is merely possible is not read",
        {
            "Possible mass; a nodule is present.": ["Nodule"], "A mass cannot be excluded. Cardiomegaly.": ["Cardiomegaly"],
            "Cardiomegaly. CT is recommended to rule out a mass.": ["Cardiomegaly"], "Nodule; a mass is unlikely.": ["Nodule"],
            "There may be a nodule. Cardiomegaly is present.": ["Cardiomegaly"],
        },
    ),
    *silent(
        CHEST,
        "a refusal",
        [
            "I am unable to assess for mass, nodule or pneumothorax.", "I'm sorry, I cannot provide a diagnosis.",
            "It is not possible to say whether a mass is present.", "I cannot tell if there is a nodule or a mass.",
            "As an AI model I can't read radiographs.", "The labels are Mass; Nodule. I cannot choose among them.",
        ],
    ),
    *stated(
        CHEST,
        "not only denied",
        {
            "I cannot assess for nodules, but cardiomegaly is present.": ["Cardiomegaly"],
            "Not only a mass but also a nodule.": ["Mass", "Nodule"],
        },
    ),
]  # fmt: skip

DETECTION = [
    *exact(
        CORNERS,
        "a JSON list of boxes",
        {
            "[[100, 120, 200, 240]]": [P], " [[100,120,200,240],[300,100,420,260]]\n": [P, Q], "[]": [],
            "[[10.5, 20.25, 30.0, 40.0]]": [(10.5, 20.25, 30.0, 40.0)], "[\n [100, 120, 200, 240]\n]": [P],
            "<think>[[0,0,10,10]]?</think>[[100,120,200,240]]": [P],
        },
    ),
    *exact(SIZES, "widths and heights", {"[[100, 120, 100, 120]]": [P], "[]": []}),
    *silent(CORNERS, "a thought that never ends", ["<think>[[100,120,200,240]]"]),
    *stated(
        CORNERS,
        "lists of another depth, in tuples or strings",
        {
            "[100, 120, 200, 240]": [P], "(100, 120, 200, 240)": [P], "[(100, 120, 200, 240), (300, 100, 420, 260)]": [P, Q],
            "[[[100, 120, 200, 240], [300, 100, 420, 260]]]": [P, Q], "[[[[100, 120, 200, 240]]]]": [P], "[[100,120],[200,240]]": [P],
            "[[[100,120],[200,240]],[[300,100],[420,260]]]": [P, Q], "(100,120),(200,240)": [P], '["100, 120, 200, 240"]': [P],
            '[["100", "120", "200", "240"], ["300", "100", "420", "260"]]': [P, Q], "[100 120 200 240]": [P], "100, 120, 200, 240": [P],
            "[[100, 120, 200, 240],]": [P], "[[100, 120, 200, 240, 0.9]]": [P], "- [100, 120, 200, 240]\n- [300, 100, 420, 260]": [P, Q],
            "1. [100, 120, 200, 240]\n2. [300, 100, 420, 260]": [P, Q], "100 120 200 240": [P],
        },
    ),
    *stated(
        CORNERS,
        "named corners and sides",
        {
            '[{"bbox": [100, 120, 200, 240]}]': [P], '{"boxes": [[100,120,200,240],[300,100,420,260]]}': [P, Q],
            '{"detections": [{"label": "mass", "box": [100, 120, 200, 240]}]}': [P], '[{"bbox_2d": [100,120,200,240], "label": "mass"}]': [P],
            '{"x1": 100, "y1": 120, "x2": 200, "y2": 240}': [P], '{"x_min": 100, "y_min": 120, "x_max": 200, "y_max": 240}': [P],
            '[{"xmin": 100, "ymin": 120, "xmax": 200, "ymax": 240}]': [P], '{"left": 100, "top": 120, "right": 200, "bottom": 240}': [P],
            '{"left": 100, "top": 120, "width": 100, "height": 120}': [P], '{"x": 100, "y": 120, "w": 100, "h": 120}': [P],
            '{"y1": 120, "x1": 100, "y2": 240, "x2": 200}': [P], "x1: 100, y1: 120, x2: 200, y2: 240": [P], "x1=100 y1=120 x2=200 y2=240": [P],
            '{"boxes": [{"x": 100, "y": 120, "width": 100, "height": 120}, {"x": 300, "y": 100, "width": 120, "height": 160}]}': [P, Q],
            "Top-left (100, 120), bottom-right (200, 240)": [P], "Bounding box: 100, 120, 200, 240": [P],
            "Top left corner: (100, 120)\nBottom right corner: (200, 240)": [P], "x_min=100, y_min=120, x_max=200, y_max=240": [P],
            '{"bbox": {"x": 100, "y": 120, "width": 100, "height": 120}}': [P], "from (100,120) to (200,240)": [P],
        },
    ),
    *stated(SIZES, "named corners are corners", {'{"x1": 100, "y1": 120, "x2": 200, "y2": 240}': [P], "```\n[[100,120,100,120]]\n```": [P]}),
    *stated(SIZES, "named sizes", {'[{"x": 100, "y": 120, "width": 100, "height": 120}]': [P], "[100, 120, 100, 120]": [P]}),
    *stated(
        CORNERS,
        "shares of the image, y first in box_2d",
        {
            '[{"box_2d": [200, 125, 400, 250]}]': [P], '```json\n[{"box_2d": [200, 125, 400, 250], "label": "lesion"}]\n```': [P],
            '{"x1": "12.5%", "y1": "20%", "x2": "25%", "y2": "40%"}': [P], "[[12.5%, 20%, 25%, 40%]]": [P],
        },
    ),
    *stated(
        CORNERS,
        "fences, prose and JSON that was cut",
        {
            "```json\n[[100, 120, 200, 240]]\n```": [P], "The lesion is at [100, 120, 200, 240].": [P], "Here: [[100,120,200,240]]. Done.": [P],
            "[[100, 120, 200, 240], [300, 100,": [P], '[{"bbox": [100, 120, 200, 240]}, {"bbox": [30': [P], "```json\n[[100,120,200,240],\n[300": [P],
            "```json\n[[100,120,200,240]]\n```\n```json\n[[100,120,200,240]]\n```": [P], "[[100, 120, 200, 240]": [P],
            "The image is 800 x 600. Box: [100, 120, 200, 240]": [P], "Not at [0, 0, 10, 10] but at [100, 120, 200, 240].": [P],
        },
    ),
    *stated(CORNERS, "nothing to see", {"There is no lesion in this image: []": [], "```json\n[]\n```": [], "No lesion is visible.": []}),
    *silent(
        CORNERS,
        "no box",
        [
            "", "I cannot provide bounding boxes.", "I cannot locate the lesion. The format would be [[x1, y1, x2, y2]].",
            "Boxes are [x_min, y_min, x_max, y_max].", "I'm unable to give coordinates. An example would be [[10, 20, 110, 120]].",
            "The image is 800 × 600 pixels.", "[[1, 2, 3]]", "A mass in the upper left.", "[[100, 120,", "null",
        ],
    ),
]  # fmt: skip

INSTANCES = [
    *exact(
        CHROMOSOMES,
        "identity to boxes",
        {
            f'{{"1": [{ONE}]}}': {"1": [R]}, f'{{"X": [{ONE}], "22": [{TWO}]}}': {"x": [R], "22": [S]}, "{}": {},
            f' {{"7": [{ONE}, {TWO}]}}\n': {"7": [R, S]}, f'<think>{{"2": [{ONE}]}}</think>{{"1": [{ONE}]}}': {"1": [R]},
        },
    ),
    *stated(
        CHROMOSOMES,
        "identities in another dress",
        {
            f'{{"chr1": [{ONE}]}}': {"1": [R]}, f'{{"Chromosome 1": [{ONE}], "Chromosome X": [{TWO}]}}': {"1": [R], "x": [S]},
            f'{{"chromosome_01": [{ONE}]}}': {"1": [R]}, f'{{"chrY": [{ONE}]}}': {"y": [R]}, f'{{"chr_12": [{ONE}]}}': {"12": [R]},
            f'{{"CHR-3": [{ONE}]}}': {"3": [R]}, f'{{"chromosome21": [{ONE}]}}': {"21": [R]}, f'{{"09": [{ONE}]}}': {"9": [R]},
            f"{{'1': [{ONE}]}}": {"1": [R]}, f"{{1: [{ONE}], x: [{TWO}]}}": {"1": [R], "x": [S]}, f'{{"#4": [{ONE}]}}': {"4": [R]},
        },
    ),
    *stated(
        CHROMOSOMES,
        "boxes in another dress",
        {
            f'{{"1": {ONE}}}': {"1": [R]}, f'{{"1": {{"bbox": {ONE}}}}}': {"1": [R]}, f'{{"1": {{"boxes": [{ONE}, {TWO}]}}}}': {"1": [R, S]},
            '{"1": [{"x": 100, "y": 100, "width": 40, "height": 60}]}': {"1": [R]}, '{"1": {"x": 100, "y": 100, "w": 40, "h": 60}}': {"1": [R]},
            '{"1": [["100", "100", "40", "60"]]}': {"1": [R]}, '{"1": [(100, 100, 40, 60)]}': {"1": [R]}, f'{{"1": [{ONE},],}}': {"1": [R]},
            '{"1": [{"x1": 100, "y1": 100, "x2": 140, "y2": 160}]}': {"1": [R]}, f'{{"1": [[{ONE}]]}}': {"1": [R]},
        },
    ),
    *stated(
        CHROMOSOMES,
        "lists of objects",
        {
            f'[{{"id": 1, "bbox": {ONE}}}]': {"1": [R]}, f'[{{"label": "chr5", "box": {ONE}}}]': {"5": [R]}, f'[{{"class": "X", "bbox": {ONE}}}]': {"x": [R]},
            '[{"chromosome": 3, "x": 100, "y": 100, "width": 40, "height": 60}]': {"3": [R]},
            f'[{{"identity": "7", "boxes": [{ONE}, {TWO}]}}]': {"7": [R, S]}, f'[{{"name": "Chromosome 12", "bbox": {ONE}}}]': {"12": [R]},
            f'[{{"bbox": {ONE}, "chromosome": "1"}}, {{"bbox": {TWO}, "chromosome": "1"}}]': {"1": [R, S]},
            f'{{"chromosomes": [{{"chromosome": "1", "bbox": {ONE}}}, {{"chromosome": "y", "bbox": {TWO}}}]}}': {"1": [R], "y": [S]},
            f'{{"chromosomes": {{"1": [{ONE}], "2": [{TWO}]}}}}': {"1": [R], "2": [S]},
            f'[{{"chromosome_id": "14", "bounding_box": {ONE}}}]': {"14": [R]}, f'[{{"1": [{ONE}]}}, {{"2": [{TWO}]}}]': {"1": [R], "2": [S]},
            '[{"box_2d": [100, 100, 200, 200], "label": "chromosome 1"}]': {"1": [(120, 90, 240, 180)]},
        },
    ),
    *stated(
        CHROMOSOMES,
        "lines",
        {
            f"chr1: {ONE}\nchrX: {TWO}": {"1": [R], "x": [S]}, "Chromosome 1: (100, 100, 40, 60)": {"1": [R]},
            f"- **Chromosome 1**: {ONE}\n- **Chromosome 2**: {TWO}": {"1": [R], "2": [S]}, f"1. Chromosome 5: {ONE}": {"5": [R]},
            f"x: {ONE}": {"x": [R]}, f"| 1 | {ONE} |\n| 2 | {TWO} |": {"1": [R], "2": [S]}, f"Chromosome 1: {ONE}, {TWO}": {"1": [R, S]},
        },
    ),
    *stated(
        CHROMOSOMES,
        "doubled keys lose no box",
        {
            f'{{"1": [{ONE}], "1": [{TWO}]}}': {"1": [R, S]}, f'{{"chr1": [{ONE}], "1": [{TWO}]}}': {"1": [R, S]},
            f'{{"Y": [{ONE}], "y": [{TWO}]}}': {"y": [R, S]}, f'{{"chromosomes": {{"1": [{ONE}], "1": [{TWO}]}}}}': {"1": [R, S]},
        },
    ),
    *stated(
        CHROMOSOMES,
        "no such identity",
        {
            f'{{"0": [{ONE}]}}': {}, f'{{"z": [{ONE}]}}': {}, f'{{"1": [{ONE}], "23": [{TWO}]}}': {"1": [R]}, f'{{"1a": [{ONE}]}}': {},
            f'{{"chromosome 23": [{ONE}]}}': {}, f'[{{"id": 47, "bbox": {ONE}}}]': {}, f'{{"chr10": [{ONE}], "chr100": [{TWO}]}}': {"10": [R]},
        },
    ),
    *stated(
        CHROMOSOMES,
        "fences, prose and JSON that was cut",
        {
            f'```json\n{{"1": [{ONE}]}}\n```': {"1": [R]}, f'Here are the boxes: {{"1": [{ONE}]}}': {"1": [R]}, f'{{"1": [{ONE}], "2": [[300,': {"1": [R]},
            f'[{{"chromosome": "1", "bbox": {ONE}}}, {{"chromosome": "2", "bb': {"1": [R]}, f'```json\n{{"chr1": {ONE}, "chr2': {"1": [R]},
        },
    ),
    *silent(
        CHROMOSOMES,
        "no instance",
        ["", "I cannot identify chromosomes.", "There are 46 chromosomes.", "<think>{\"1\": [[1, 2, 3, 4]]}", "Chromosome 1 is large."],
    ),
]  # fmt: skip

REPORTS = [
    *exact(
        REPORT,
        "any text with words, of any script",
        {
            text: text
            for text in (
                "No acute cardiopulmonary abnormality.", "Normal.", "FINDINGS: Clear lungs.", "T12 compression fracture.",
                "Findings:\nThe heart is normal.\n\nImpression:", "双肺野清晰，未见实变。心影不大。", "无异常", "الرئتان صافيتان.",
                "Лёгочные поля чистые.", "肺野に異常なし。", "फेफड़े साफ हैं।", "- Clear lungs\n- No effusion", "폐야는 깨끗하다.",
            )
        },
    ),
    *exact(
        REPORT,
        "without thought, after the turn or white space around",
        {
            "Clear lungs.<end_of_turn>": "Clear lungs.", " Clear lungs.\n": "Clear lungs.", "<think>Mass?</think>Clear lungs.": "Clear lungs.",
            "Is it a mass?</think>\nClear lungs.": "Clear lungs.", "Clear lungs.<eos>Large mass.": "Clear lungs.",
            "<unused94>thought\nA mass?\n<unused95>\nClear lungs.": "Clear lungs.",
        },
    ),
    *silent(
        REPORT,
        "no words",
        [
            "", ".", "...", "—", "\u200b", "\ufeff", " \n\t", "***", "```\n```", "_____", "[[10, 20, 110, 120]]", "[]", "{}", "12.5", "\u200b.\u200b",
            "FINDINGS:", "FINDINGS:\n\nIMPRESSION:", "**Findings:**\n\n**Impression:**", "# Report", "Findings:\nImpression:\n.",
            "<think>A mass.</think>", "<unused94>thought\nThe heart is large", "<end_of_turn>",
        ],
    ),
]  # fmt: skip

LATER = [
    *stated(
        COUNT,
        "found by trying",
        {
            "45.\n\nExplanation: I counted 20 in the left and 25 in the right.": 45, "Row 1: 5\nRow 2: 7\n\n12": 12, "thirty-seven": 37, "1.024 cells": 1024,
            "2 hundred cells": 200, "20 plus 25 is 45": 45, "page 3, 45 cells": 45, "I can't determine the exact number, but it looks like 45.": 45,
            "approximately 110 (range: 100 to 120)": 110, '1000\n```json\n[{"box_2d": [10, 10, 990, 990]}]\n```': 1000, "The count of cells in image 2 is 45": 45,
        },
    ),
    *silent(
        COUNT,
        "found by trying",
        ["Too blurry to count. 1) Provide a sharper one.", "The image contains 12 red and 15 blue cells.", "> 100", "more than 100 cells", "45/100", "I cannot answer how many of the 12 are alive."],
    ),
    *stated(
        PERCENT,
        "found by trying",
        {"20% (mild: below 15%, moderate: 15-33%)": 20, "100% sure: 20%": 20, "20% with 90% confidence": 20, "The average of 20% and 30% is 25%.": 25, "twenty-five percent": 25, "1/3 (33%)": 33},
    ),
    *stated(NUMBER, "found by trying", {"The patient is 45 years old.": 45, "Age: 45": 45, "12.5 mm": 12.5}),
    *stated(
        LETTER,
        "found by trying",
        {
            "Since there is no lesion, the correct answer is C": "C", "This is (A) benign, not (B) malignant.": "A", "Benign? No, malignant.": "B", "B (not A)": "B",
            "B because of the margins": "B", "Malignant features are absent, so benign.": "A", "- [ ] A\n- [x] B\n- [ ] C": "B", "abnormal, malignant": "B",
            "The most likely diagnosis is **A. Benign**.\n\n**Other options:**\n* Malignant (B) has spicules.": "A", "Not sure, but B": "B",
            "It is impossible to tell. Therefore, the most appropriate answer, given the margins, is:\n\nB. Cancer": "B",
            "Most likely **C**.\n**Why not other options:**\n*   **A. Benign:** nothing is seen.": "C", "The tumour is malignant, normal tissue around it.": "B",
            "I cannot answer the question.\nFinal Answer: The final answer is $\\boxed{A}$": "A",
        },
    ),
    *silent(
        LETTER,
        "found by trying",
        ["A, B, and C", "A or maybe B", "A (or B)", "A: 10%, B: 80%, C: 10%", "Malignant features are absent.", "I can't choose between A and B", "Vessels in benign and malignant cannot be distinguished."],
    ),
    *stated(
        CHEST,
        "found by trying",
        {
            "Mass yes, nodule no": ["Mass"], "Mass? Yes. Nodule? No.": ["Mass"], "Mass,Yes\nNodule,No": ["Mass"], "None of the above.": [], "Absent pneumothorax": [],
            "Present:\n- Mass\n- Nodule\nAbsent:\n- Cardiomegaly\n- Pneumothorax": ["Mass", "Nodule"], "Not mass; nodule": ["Nodule"], "The mass is not calcified.": ["Mass"],
            '{"Mass": {"present": true}, "Nodule": {"present": false}}': ["Mass"], '{"Mass": "yes", "Nodule": "maybe"}': ["Mass"], "No finding other than a nodule": ["Nodule"],
            "The diaphragm appears normal.\nFinal Answer: Cardiomegaly, Nodule": ["Cardiomegaly", "Nodule"], "It is difficult to assess the apices. Cardiomegaly.": ["Cardiomegaly"],
        },
    ),
    *silent(CHEST, "found by trying", ["Mass or nodule", "Suspected mass", "Mass possible", "I'm sorry, I cannot analyse images. Possible labels are Mass; Nodule."]),
    *stated(
        CORNERS,
        "found by trying",
        {
            '{"x0": 100, "y0": 120, "x1": 200, "y1": 240}': [P], '{"center_x": 150, "center_y": 180, "width": 100, "height": 120}': [P],
            '{"top_left": [100, 120], "bottom_right": [200, 240]}': [P], '{"width": 800, "height": 600, "boxes": [{"x": 100, "y": 120, "width": 100, "height": 120}]}': [P],
            '{"x_min": 0.125, "y_min": 0.2, "x_max": 0.25, "y_max": 0.4}': [P],
        },
    ),
    *stated(CHROMOSOMES, "found by trying", {f'[{{"id": 47, "chromosome": "5", "bbox": {ONE}}}]': {"5": [R]}, f"1: {ONE}, 2: {TWO}": {"1": [R], "2": [S]}}),
    *silent(REPORT, "found by trying", ['[{"box_2d": [1, 2, 3, 4]}]', "## Findings\n\n## Impression"]),
    *exact(REPORT, "found by trying", {"Findings\nClear lungs": "Findings\nClear lungs"}),
]  # fmt: skip

VQA = [
    *exact(
        OPEN,
        "a line",
        {
            "left lung": "left lung", " CT ": "CT", "3": "3", "The lesion is in the right kidney.": "The lesion is in the right kidney.", "肝脏": "肝脏", "none": "none",
            "4.5 cm": "4.5 cm", "No": "No",
        },
    ),
    *stated(
        OPEN,
        "what an answer leads to",
        {
            "The image shows a mass.\n\nAnswer: left lung": "left lung", "Let me look.\n**Answer:** left lung\n\nThe rest is normal.": "left lung",
            "Two lungs are seen.\nSo the final answer is: \\boxed{left lung}": "left lung", "left lung\n\nThe mass is large.": "left lung", "**left lung**\n- seen at once": "left lung", "FINDINGS:\nleft lung": "left lung", "**Location:**\n* left lung": "left lung",
        },
    ),
    *silent(OPEN, "nothing that answers", ["", "...", "**", "I cannot answer this question.", "word " * 51, "\n\n"]),
    *exact(YES_NO, "the word", {"Yes": "Yes", "no": "No", " NO\n": "No"}),
    *stated(
        YES_NO,
        "the word in prose",
        {
            "Yes.": "Yes", "No, there is no fracture.": "No", "**Yes**": "Yes", "Yes, no effusion is left.": "Yes", "The answer is no.": "No", "Answer: Yes": "Yes",
            "Yes there is a mass.": "Yes", "No it isn't.": "No", "The lungs are normal.\n\nAnswer: **No**": "No", "I would say **yes**.": "Yes", "Final Answer: The final answer is $\\boxed{Yes}$": "Yes",
            "The image shows a chest film. Yes, the heart is enlarged.": "Yes", "- No\n": "No", "yes - both sides": "Yes", "I am not sure. The answer would be yes.": "Yes", "The answer is no because the lungs are clear.": "No",
        },
    ),
    *silent(
        YES_NO,
        "no word of its own",
        [
            "The lungs are normal.", "Nothing is seen.", "There is no fracture.", "yes or no", "Yes/No", "I cannot answer yes or no.", "Yes. No.", "", "nose", "eyes", "No fracture is seen.", "yes and no", 'The likely answer is "No lesion".', "The answer is no lesion",
        ],
    ),
    *exact(SIDES, "the alternative", {"left": "left", "RIGHT": "right", "both ": "both"}),
    *stated(
        SIDES,
        "the alternative in prose",
        {
            "The lesion is on the left side.": "left", "Left.": "left", "It is the right lung, not the left.": "right", "Answer: both": "both", "not left but right": "right",
        },
    ),
    *silent(SIDES, "no alternative, or more than one", ["left or right", "I cannot say.", "yes", "The lesion is central.", "either left or right"]),
]  # fmt: skip

CASES = [*COUNTING, *REGRESSION, *CLASSIFICATION, *MULTI_LABEL, *DETECTION, *INSTANCES, *REPORTS, *VQA, *LATER]
