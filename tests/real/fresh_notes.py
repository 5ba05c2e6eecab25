"""Toy notes of words and sentences that no setting was chosen on: written after the settings, and measured once.

`FRESH` came first. What an encoder missed there was that it had learned from too few sentences and words, so that
`WIDE` has these and many more to learn from, and `SECOND`, written before that training, is what it is measured on.
"""

import random
from pathlib import Path

from workflow_scripts.synthetic.notes import HELD_OUT, TRAINING, Vocabulary, note


def _listed(words: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in words.split(";"))


FRESH = Vocabulary(
    templates=(
        "Because of {problem:a} he now takes {drug:a} {dose:a} every morning.",
        "{Problem:a} improved once {drug:a} was added.",
        "Her medications on arrival were {drug:a} {dose:a}, {drug:b} {dose:b} and {drug:c} {dose:c}.",
        "He came to the emergency department with {problem:a} and {problem:b}.",
        "Results of {test:a} are pending.",
        "The cardiology team recommended {test:a} and a trial of {drug:a}.",
        "{Test:a} confirmed {problem:a}, so {drug:a} {dose:a} was given.",
        "We stopped {drug:a} after she developed {problem:a}.",
        "No {problem:a} was seen on {test:a}.",
        "Assessment: {problem:a}, likely due to {problem:b}.",
        "{Drug:a} was reduced from {dose:b} to {dose:a} on the second day.",
        "Her mother had {problem:a} and her brother has {problem:b}.",
        "She works as a teacher and walks two miles each day.",
        "The nurse called the family, and they agreed with the plan.",
    ),
    words={
        "drug": _listed(
            "cefepime; apixaban; hydrochlorothiazide; mirtazapine; famotidine; tramadol; levetiracetam; nifedipine; "
            "amoxicillin; bumetanide; quetiapine; methotrexate; ibuprofen; linezolid"
        ),
        "problem": _listed(
            "mitral regurgitation; acute cholecystitis; hypokalemia; neck pain; rheumatoid arthritis; constipation; "
            "iron deficiency; syncope; lung cancer; diverticulitis; ankle swelling; respiratory failure; migraine; "
            "thrombocytopenia"
        ),
        "test": _listed(
            "CT of the chest; urine culture; serum magnesium; pulmonary function tests; MRI of the knee; thyroid "
            "stimulating hormone; bone scan; carotid ultrasound; upper endoscopy; hematocrit"
        ),
    },
    modifiers=("progressive", "occasional", "advanced", "subacute"),
)

SECOND = Vocabulary(
    templates=(
        "In the evening he complained of {problem:a}, for which {drug:a} {dose:a} was ordered.",
        "Since {drug:a} was not tolerated, he was switched to {drug:b} {dose:b} a day.",
        "{Test:a} from last month was reviewed with the patient.",
        "Impression: {problem:a} with {problem:b}.",
        "The surgeon asked for {test:a} before discharge.",
        "Current therapy consists of {drug:a}, {drug:b} {dose:b} and {drug:c}.",
        "{Problem:a} has been controlled with {drug:a} {dose:a} at bedtime.",
        "As {test:a} did not explain her {problem:a}, we obtained {test:b}.",
        "On examination there were signs of {problem:a}.",
        "Please give {dose:a} of {drug:a} before the procedure.",
        "His wife noticed {problem:a} three days ago.",
        "He was known to have {problem:a} when he was transferred from the outside hospital.",
        "The patient ate well and went for a walk with his daughter.",
        "An appointment with the clinic was made for next Tuesday.",
    ),
    words={
        "drug": _listed(
            "rivaroxaban; ketorolac; trazodone; piperacillin; nitroglycerin; empagliflozin; loperamide; propranolol; "
            "cephalexin; ondansetron; pregabalin; methimazole; dabigatran; fluconazole"
        ),
        "problem": _listed(
            "tricuspid stenosis; kidney stones; hypercalcemia; shoulder pain; psoriatic arthritis; heartburn; "
            "vitamin D deficiency; palpitations; prostate cancer; acute appendicitis; facial swelling; liver "
            "failure; vertigo; leukocytosis"
        ),
        "test": _listed(
            "CT of the neck; throat culture; serum phosphate; sleep study; MRI of the shoulder; hepatitis panel; "
            "bone marrow biopsy; thyroid ultrasound; bronchoscopy; D-dimer"
        ),
    },
    modifiers=("longstanding", "transient", "refractory", "unexplained"),
)

WIDE = Vocabulary(
    templates=(
        *TRAINING.templates,
        *HELD_OUT.templates,
        *FRESH.templates,
        "The neurology service was consulted for {problem:a}.",
        "Infectious disease suggested {drug:a} instead of {drug:b}.",
        "{Drug:a} {dose:a} every six hours as needed for {problem:a}.",
        "She was seen in the office one week ago because of {problem:a}.",
        "Nothing else was remarkable, and the physical examination was normal.",
        "The patient will return in two weeks for {test:a}.",
        "{Test:a} and {test:b} were both within normal limits.",
        "{Problem:a} was first diagnosed four years ago.",
        "He underwent {test:a}, which was negative for {problem:a}.",
        "Social history: retired mechanic, two glasses of wine a week, no tobacco.",
        "At home she uses {drug:a}, but she does not remember the dose.",
        "He was brought in by ambulance after {problem:a}.",
        "The intensive care unit was notified, and a bed was found at noon.",
        "{Test:a} on the third hospital day showed that {problem:a} had resolved.",
        "If {problem:a} returns, {drug:a} can be repeated at {dose:a}.",
        "The pharmacy does not carry {drug:a}, so that {drug:b} {dose:b} was dispensed.",
        "Diet was advanced, the catheter was removed, and he voided without difficulty.",
        "Family history is positive for {problem:a} and {problem:b}.",
        "We discussed the risks and benefits of {drug:a} with the patient and her son.",
        "There is a question of {problem:a}; {test:a} is scheduled for Monday.",
        "Follow up with the primary care physician in one month.",
        "She had been on {drug:a} for ten years for {problem:a}.",
        "{Problem:a}: continue {drug:a} {dose:a}, check {test:a} weekly.",
        "The wound was clean, and the dressing was changed by the team.",
        "After {dose:a} of {drug:a} his {problem:a} was better.",
    ),
    words={
        "drug": (
            *TRAINING.words["drug"],
            *HELD_OUT.words["drug"],
            *FRESH.words["drug"],
            *_listed(
                "atenolol; nadolol; captopril; quinapril; irbesartan; candesartan; chlorthalidone; triamterene; "
                "eplerenone; isosorbide; ranolazine; ezetimibe; fenofibrate; niacin; enoxaparin; dalteparin; "
                "ticagrelor; prasugrel; glyburide; sitagliptin; pioglitazone; liraglutide; hydrocortisone; "
                "dexamethasone; methylprednisolone; budesonide; tiotropium; montelukast; fluticasone; cetirizine; "
                "loratadine; diphenhydramine; ampicillin; cefazolin; cefuroxime; clindamycin; metronidazole; "
                "levofloxacin; nitrofurantoin; acyclovir; oseltamivir; hydroxychloroquine; sulfasalazine; "
                "azathioprine; tacrolimus; cyclosporine; colchicine; acetaminophen; celecoxib; meloxicam; codeine; "
                "hydromorphone; methadone; naloxone; baclofen; carbamazepine; valproate; phenytoin; topiramate; "
                "lamotrigine; fluoxetine; paroxetine; venlafaxine; bupropion; amitriptyline; olanzapine; "
                "risperidone; diazepam; clonazepam; zolpidem; donepezil; levodopa; alendronate; docusate; senna; "
                "lactulose; metoclopramide; finasteride; oxybutynin; epoetin"
            ),
        ),
        "problem": (
            *TRAINING.words["problem"],
            *HELD_OUT.words["problem"],
            *FRESH.words["problem"],
            *_listed(
                "pulmonary hypertension; aortic dissection; pericarditis; myocardial infarction; angina; "
                "cardiomyopathy; heart block; ventricular tachycardia; aortic insufficiency; peripheral vascular "
                "disease; varicose veins; orthostatic hypotension; emphysema; pneumothorax; hemoptysis; wheezing; "
                "sleep apnea; pulmonary fibrosis; sinusitis; tonsillitis; ear pain; hearing loss; blurred vision; "
                "glaucoma; cataracts; hepatitis; cirrhosis; ascites; jaundice; gallstones; peptic ulcer disease; "
                "gastritis; esophageal reflux; bowel obstruction; colitis; hemorrhoids; rectal bleeding; hernia; "
                "urinary retention; incontinence; hematuria; kidney failure; dehydration; hypernatremia; "
                "hypoglycemia; hyperglycemia; obesity; weight loss; loss of appetite; fatigue; weakness; night "
                "sweats; chills; rash; itching; eczema; psoriasis; skin ulcer; decubitus ulcer; abscess; "
                "osteomyelitis; septic arthritis; osteoporosis; spinal stenosis; sciatica; wrist fracture; rib "
                "fractures; muscle cramps; tremor; Parkinson disease; dementia; delirium; confusion; stroke; "
                "subdural hematoma; brain metastases; breast cancer; colon cancer; lymphoma; leukemia; multiple "
                "myeloma; neutropenia; bleeding disorder; hyperthyroidism; adrenal insufficiency; vitamin B12 "
                "deficiency; alcohol withdrawal; panic attacks; bipolar disorder; influenza; tuberculosis; shingles; "
                "HIV infection"
            ),
        ),
        "test": (
            *TRAINING.words["test"],
            *HELD_OUT.words["test"],
            *FRESH.words["test"],
            *_listed(
                "CT of the pelvis; CT angiogram; CT of the spine; MRI of the hip; MRI of the abdomen; MRI of the "
                "breast; pelvic ultrasound; venous ultrasound; breast ultrasound; bladder scan; mammogram; PET scan; "
                "ventilation perfusion scan; cardiac MRI; Holter monitor; tilt table test; exercise test; coronary "
                "angiography; spirometry; peak flow; oxygen saturation; sigmoidoscopy; barium swallow; liver biopsy; "
                "skin biopsy; kidney biopsy; lymph node biopsy; thoracentesis; paracentesis; wound culture; stool "
                "culture; fungal culture; Gram stain; viral panel; serum calcium; serum glucose; serum albumin; "
                "serum lipase; serum ammonia; serum ferritin; bilirubin; alkaline phosphatase; blood urea nitrogen; "
                "hemoglobin A1c; lipid panel; prothrombin time; INR; sedimentation rate; C-reactive protein; "
                "procalcitonin; drug screen; cortisol level; PSA; rheumatoid factor; antinuclear antibody; visual "
                "field test; hearing test; nerve conduction study; knee x-ray; abdominal film"
            ),
        ),
    },
    modifiers=(*TRAINING.modifiers, *HELD_OUT.modifiers, *FRESH.modifiers, "diffuse", "early", "possible", "resolving"),
)


def write_drawn(folder: Path, vocabulary: Vocabulary, notes: int, seed: int) -> None:
    """Write so many notes of a vocabulary with their annotations."""
    rng = random.Random(seed)
    folder.mkdir(parents=True)
    for number in range(1, notes + 1):
        text, annotations = note(rng, vocabulary)
        (folder / f"note{number:04d}.txt").write_text(text)
        (folder / f"note{number:04d}.ann").write_text(annotations)
