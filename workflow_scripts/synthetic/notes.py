"""Toy clinical notes with brat annotations beside them: drugs with doses, problems and tests, and their relations.

`python -m workflow_scripts.synthetic.notes --out FOLDER --notes 120 --held-out 40`

Notes are drawn from templates of sentences and lists of words. Those of `test/` share neither with those of `train/`:
no template, no drug, no problem and no test stands in both, so that what is memorised helps nothing there. They are no
record of a person, and no substitute for real notes.
"""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import write_text


def _listed(words: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in words.split(";"))


DRUGS = _listed(
    "aspirin; metoprolol; lisinopril; atorvastatin; furosemide; metformin; warfarin; amlodipine; omeprazole; "
    "prednisone; gabapentin; levothyroxine; ceftriaxone; vancomycin; digoxin; heparin; simvastatin; clopidogrel; "
    "albuterol; hydralazine; carvedilol; losartan; spironolactone; pantoprazole; morphine; oxycodone; sertraline; "
    "citalopram; insulin; allopurinol; amiodarone; ciprofloxacin; azithromycin; lorazepam; haloperidol; "
    "tamsulosin; ranitidine; diltiazem; enalapril; glipizide"
)
DRUGS_HELD_OUT = _listed(
    "rosuvastatin; bisoprolol; torsemide; ramipril; doxycycline; meropenem; fentanyl; duloxetine; pravastatin; "
    "verapamil; valsartan; naproxen"
)
PROBLEMS = _listed(
    "hypertension; pneumonia; congestive heart failure; atrial fibrillation; chest pain; shortness of breath; "
    "type 2 diabetes; urinary tract infection; acute renal failure; anemia; fever; abdominal pain; nausea; "
    "headache; lower back pain; deep vein thrombosis; pulmonary edema; cellulitis; seizures; depression; "
    "hypothyroidism; gout; coronary artery disease; leg swelling; chronic kidney disease; pleural effusion; "
    "dizziness; vomiting; gastrointestinal bleeding; sepsis; asthma; productive cough; left hip fracture; "
    "hyperlipidemia; insomnia; right lower lobe infiltrate; sinus tachycardia; hyperkalemia; wound infection; "
    "peripheral neuropathy"
)
PROBLEMS_HELD_OUT = _listed(
    "aortic stenosis; bronchitis; acute pancreatitis; hypotension; osteoarthritis; diarrhea; pulmonary embolism; "
    "knee pain; bacterial meningitis; hyponatremia; ischemic stroke; anxiety"
)
TESTS = _listed(
    "chest x-ray; CT of the head; complete blood count; echocardiogram; urinalysis; blood cultures; serum "
    "creatinine; troponin; EKG; abdominal ultrasound; liver function tests; MRI of the spine; hemoglobin; "
    "potassium; lactate; stress test; colonoscopy; arterial blood gas; white blood cell count; lumbar puncture"
)
TESTS_HELD_OUT = _listed(
    "CT of the abdomen; sputum culture; serum sodium; electroencephalogram; MRI of the brain; platelet count; "
    "cardiac catheterization; renal ultrasound"
)
MODIFIERS = (
    "acute",
    "chronic",
    "severe",
    "recurrent",
    "worsening",
    "bilateral",
    "intermittent",
    "new",
    "stable",
    "viral",
)
MODIFIERS_HELD_OUT = ("mild", "persistent", "moderate")
UNITS = ("mg", "mcg", "units", "g")
AMOUNTS = (
    "2.5",
    "5",
    "10",
    "12.5",
    "20",
    "25",
    "40",
    "50",
    "75",
    "80",
    "81",
    "100",
    "150",
    "250",
    "325",
    "500",
    "1000",
)

TEMPLATES = (
    "The patient was started on {drug:a} {dose:a} daily.",
    "She takes {drug:a} {dose:a} twice a day for {problem:a}.",
    "He was given {dose:a} of {drug:a} for {problem:a}.",
    "Home medications include {drug:a} {dose:a} and {drug:b} {dose:b}.",
    "{Drug:a} {dose:a} was continued.",
    "{Drug:a} was held because of {problem:b}.",
    "The dose of {drug:a} was increased to {dose:a}.",
    "Past medical history is significant for {problem:a}, {problem:b} and {problem:c}.",
    "This is a 64-year-old man with {problem:a} who presented with {problem:b}.",
    "She denies {problem:a} or {problem:b}.",
    "{Test:a} showed {problem:a}.",
    "{Test:a} was unremarkable.",
    "A {test:a} was obtained and revealed {problem:a}.",
    "On admission, {test:a} and {test:b} were ordered.",
    "{Problem:a} was treated with {drug:a}.",
    "Her {problem:a} resolved after {drug:a} {dose:a}.",
    "He was admitted to the hospital for {problem:a}.",
    "We will follow up on the {test:a} in the morning.",
    "There was no evidence of {problem:a} on {test:a}.",
    "Discharge medications: {drug:a} {dose:a}, {drug:b} {dose:b}, {drug:c}.",
    "The patient remained stable overnight and slept well.",
    "Lungs were clear with no {problem:a}.",
    "He had no {problem:a}, {problem:b} or {problem:c}.",
    "He lives with his wife and does not smoke.",
    "Plan: repeat {test:a}, continue {drug:a}.",
    "Allergies: {drug:a}.",
)
TEMPLATES_HELD_OUT = (
    "The patient reported {problem:a} and received {drug:a} {dose:a}.",
    "We increased {drug:a} to {dose:a} for her {problem:a}.",
    "He has a history of {problem:a} and {problem:b}.",
    "{Test:a} was performed and showed no {problem:a}.",
    "She was discharged on {drug:a} {dose:a}.",
    "For {problem:a} he was treated with {drug:a} and {drug:b}.",
    "The {test:a} was repeated after two days.",
    "The family was at the bedside and had no questions.",
)

_SLOT = re.compile(r"\{(\w+):(\w)\}")
_KINDS = {"drug": "Drug", "dose": "Dose", "problem": "Problem", "test": "Test"}


@dataclass(frozen=True)
class Vocabulary:
    """What notes are drawn from."""

    templates: Sequence[str]
    words: Mapping[str, Sequence[str]]
    modifiers: Sequence[str]  # of problems: every third has one


TRAINING = Vocabulary(TEMPLATES, {"drug": DRUGS, "problem": PROBLEMS, "test": TESTS}, MODIFIERS)
HELD_OUT = Vocabulary(
    TEMPLATES_HELD_OUT,
    {"drug": DRUGS_HELD_OUT, "problem": PROBLEMS_HELD_OUT, "test": TESTS_HELD_OUT},
    MODIFIERS_HELD_OUT,
)


def note(rng: random.Random, vocabulary: Vocabulary) -> tuple[str, str]:
    """The text of a note of three to six sentences, and its annotations: a dose belongs to the drug of its letter."""
    text = ""
    lines: list[str] = []
    for template in rng.sample(list(vocabulary.templates), rng.randint(3, 6)):
        named: dict[tuple[str, str], str] = {}
        used: set[str] = set()
        place = 0
        text += "\n" if text and rng.random() < 0.3 else " " if text else ""
        for slot in _SLOT.finditer(template):
            text += template[place : slot.start()]
            kind, letter = slot[1].lower(), slot[2]
            words = _drawn(rng, vocabulary, kind, used)
            words = words[0].upper() + words[1:] if slot[1][0].isupper() else words
            name = f"T{sum(line.startswith('T') for line in lines) + 1}"
            lines.append(f"{name}\t{_KINDS[kind]} {len(text)} {len(text) + len(words)}\t{words}")
            named[kind, letter] = name
            text += words
            place = slot.end()
        text += template[place:]
        for (kind, letter), name in named.items():
            if kind == "dose" and ("drug", letter) in named:
                lines.append(_relation(lines, "Dose-Drug", name, named["drug", letter]))
    return text + "\n", "".join(f"{line}\n" for line in lines)


def _relation(lines: Sequence[str], kind: str, head: str, tail: str) -> str:
    return f"R{sum(line.startswith('R') for line in lines) + 1}\t{kind} Arg1:{head} Arg2:{tail}"


def _drawn(rng: random.Random, vocabulary: Vocabulary, kind: str, used: set[str]) -> str:
    """Words of a kind that the sentence does not hold yet."""
    while True:
        if kind == "dose":
            words = f"{rng.choice(AMOUNTS)} {rng.choice(UNITS)}"
        else:
            words = rng.choice(vocabulary.words[kind])
            if kind == "problem" and rng.random() < 1 / 3:
                words = f"{rng.choice(vocabulary.modifiers)} {words}"
        if words not in used:
            used.add(words)
            return words


def write_notes(*, out: Path, notes: int = 120, held_out: int = 40, seed: int = 7) -> str:
    """Write toy notes with their annotations.

    Args:
        out: folder to write `train/` and `test/` to
        notes: how many to write to `train/`
        held_out: how many to write to `test/`, of other templates and words
        seed: of the draws
    """
    rng = random.Random(seed)
    for folder, count, vocabulary in (("train", notes, TRAINING), ("test", held_out, HELD_OUT)):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for number in range(1, count + 1):
            text, annotations = note(rng, vocabulary)
            write_text(out / folder / f"note{number:04d}.txt", text)
            write_text(out / folder / f"note{number:04d}.ann", annotations)
    return f"{notes + held_out} notes below {out}"


if __name__ == "__main__":
    run_step(write_notes)
