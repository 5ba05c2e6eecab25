"""Imitations of clinical sets, in words of this project: the layouts that the presets name."""

import json
from pathlib import Path

from tests.data.table_layouts import write_files


def lines(rows: list[dict]) -> str:
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def both(example: list[dict], rows: list[dict]) -> dict[str, str]:
    return {"examples.jsonl": lines(example), "cases.jsonl": lines(rows)}


def cpc(folder: Path, count: int = 3) -> Path:
    """Conferences with a diagnosis and the test that made it; the first is an example."""
    known = [
        ("Lyme disease", "serology"),
        ("Gout", "joint aspiration"),
        ("Scurvy", "vitamin C level"),
        ("Malaria", "smear"),
    ]
    rows = [
        {
            "case": f"cpc-{number}",
            "presentation": f"A person of {40 + number} years has pain in the knee and fatigue for {number + 2} weeks.",
            "diagnosis": diagnosis,
            "next_test": test,
        }
        for number, (diagnosis, test) in enumerate(known[: count + 1])
    ]
    return write_files(folder, both(rows[:1], rows[1:]))


def healer(folder: Path, cases: int = 2) -> Path:
    """Cases in four stages, each with all that is known so far; the first case is an example."""
    facts = ("chest pain since the morning", "a rub over the heart", "a raised troponin", "an effusion on ultrasound")
    rows = [
        {
            "case": f"healer-{case}",
            "stage": stage + 1,
            "text": f"A woman of {30 + case} years. Known: {', '.join(facts[: stage + 1])}.",
            "reference": f"Summary: chest pain, stage {stage + 1}. Most likely: pericarditis. Less likely: infarction.",
        }
        for case in range(cases + 1)
        for stage in range(4)
    ]
    return write_files(folder, both(rows[:4], rows[4:]))


def grey_matters(folder: Path, count: int = 2) -> Path:
    """Vignettes with items of their own, 100 points together; the first is an example."""
    rows = [
        {
            "case": f"gm-{number}",
            "vignette": f"A man of {80 + number} years falls at night and takes a sleeping pill.",
            "question": "How do you proceed?",
            "reference": "Stop the pill, check his blood pressure, and ask what he wishes.",
            "rubric": [
                {"text": "Stops the sleeping pill", "points": 50},
                {"text": "Measures blood pressure lying and standing", "points": 30},
                {"text": "Asks what the patient wishes", "points": 20},
            ],
        }
        for number in range(count + 1)
    ]
    return write_files(folder, both(rows[:1], rows[1:]))


def admissions(folder: Path, count: int = 4) -> list[Path]:
    """Admissions as the framework of MIMIC-IV-Ext CDM keeps them, a JSON file a pathology."""
    codes = {"appendicitis": 4701, "cholecystitis": 5123, "diverticulitis": 5491, "pancreatitis": 5185}
    files = {}
    for number, (pathology, code) in enumerate(codes.items()):
        files[f"{pathology}_hadm_info_first_diag.json"] = json.dumps(
            {
                str(1000 * number + place): {
                    "Patient History": f"{place + 2} days of abdominal pain; visit {number + 1} of this patient.",
                    "Physical Examination": "" if place == 1 else "Temp 38.1, tender abdomen.",
                    "Laboratory Tests": {"51301": "14.2 K/uL", "50956": "60 IU/L", "50882": "24 mEq/L"},
                    "Reference Range Lower": {"51301": 4.5, "50956": float("nan")},
                    "Reference Range Upper": {"51301": 11.0, "50956": 60.0},
                    "Radiology": [
                        {"Report": "The wall is thick.", "Modality": "CT", "Region": "Abdomen"},
                        {"Report": "The lungs are clear.", "Modality": "Radiograph", "Region": "Chest"},
                    ],
                    "Discharge Diagnosis": f"acute {pathology}",
                    "ICD Diagnosis": [f"Acute {pathology}"],
                    "Procedures": [],
                    "Procedures ICD9": [code] if place % 2 else [],
                    "Procedures ICD10": [],
                }
                for place in range(count)
            }
        )
    write_files(folder, files)
    return [folder / name for name in files]


def replies(path: Path, rows: list[dict]) -> Path:
    """Recorded replies of a judge."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(lines(rows), encoding="utf-8")
    return path
