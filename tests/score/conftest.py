"""Rows of a split and predictions for the score stage, written by hand."""

import json
from typing import Any

import pytest

from workflow_scripts.core.rows import Box, ExpectedFormat, Instance, Option, Prediction, Row
from workflow_scripts.core.tables import write_rows


def box(x1: float, y1: float, x2: float, y2: float) -> Box:
    return Box(float(x1), float(y1), float(x2), float(y2))


def row(place: int, task: str, answer: str, **changes: Any) -> Row:
    """A row of a split; two rows share a case."""
    fields = {
        "uid": f"u{place:04d}",
        "subset": f"{task}-set",
        "modality": "Xray",
        "folder": "validation-public",
        "task": task,
        "task_raw": "",
        "case_id": f"case{place // 2}",
        "question": "?",
        "expected": ExpectedFormat(),
        "images": (),
        "image_name": "[]",
        "answer": answer,
        "answer_raw": json.dumps(answer),
        "source_file": "questions.json",
        "source_row": place,
    }
    return Row(**(fields | changes))


LETTER = ExpectedFormat(answer_by="letter", options=(Option("A", "Benign"), Option("B", "Malignant")))
LABELS = ExpectedFormat(labels=("Caries", "Crown"), separator=";")


RELATED = ExpectedFormat(
    labels=("Dose-Drug",), text="Entities:\nT1 Drug 0 7 Aspirin\nT2 Dose 8 13 81 mg\n\nText:\nAspirin 81 mg daily."
)


DECISION = "Final Diagnosis: Acute appendicitis\nTreatment: antibiotics"


def one_of_each() -> list[Row]:
    """One row for each task."""
    return [
        row(0, "classification", "B", expected=LETTER),
        row(1, "multi_label", "Caries; Crown", labels=("Caries", "Crown"), expected=LABELS),
        row(
            2,
            "detection",
            "[[1, 2, 30, 40]]",
            boxes=(box(1, 2, 30, 40),),
            expected=ExpectedFormat(box_convention="xyxy"),
        ),
        row(
            3,
            "instance_detection",
            '{"x": [[1, 2, 10, 10]]}',
            instances=(Instance("x", box(1, 2, 11, 12)),),
            expected=ExpectedFormat(box_convention="xywh"),
        ),
        row(4, "counting", "12", number=12.0),
        row(5, "regression", "33.5%", number=33.5, expected=ExpectedFormat(percent=True)),
        row(6, "report", "Small left pleural effusion."),
        row(7, "open_vqa", "left lower lobe"),
        row(8, "closed_vqa", "no", labels=("no",), expected=ExpectedFormat(answer_by="words", labels=("yes", "no"))),
        row(14, "free_response", "Pulmonary embolism. Pneumonia."),
        row(9, "entities", "Drug: aspirin", expected=ExpectedFormat(labels=("Drug",), text="He takes aspirin.")),
        row(10, "relations", "Dose-Drug: T2 -> T1", expected=RELATED),
        row(11, "entailment", "neutral", expected=ExpectedFormat(answer_by="words", labels=("neutral", "entailment"))),
        row(12, "similarity", "3.5", number=3.5),
        row(13, "span_qa", "81 mg", expected=ExpectedFormat(text="He takes 81 mg of aspirin.")),
        row(15, "probability", "33.5%", answer_raw='"25-42%"', expected=ExpectedFormat(percent=True)),
        row(16, "clinical_decision", DECISION, answer_raw='{"pathology": "appendicitis"}'),
    ]


def prediction(uid: str, text: str, system: str = "base", finish_reason: str = "stop") -> Prediction:
    return Prediction(uid, system, text, finish_reason)


@pytest.fixture
def tables(tmp_path):
    """A function that writes a split and predictions and gives their paths."""

    def write(rows: list[Row], predictions: list[Prediction], name: str = "base"):
        split, answers = tmp_path / "split.parquet", tmp_path / f"{name}.parquet"
        write_rows(split, rows, Row)
        write_rows(answers, predictions, Prediction)
        return split, answers

    return write
