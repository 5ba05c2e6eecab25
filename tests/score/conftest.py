"""Rows of a split and predictions for the score room, made by hand."""

import json

import pytest

from workflow_scripts.core.tables import PREDICTIONS, ROWS, write_table

_EMPTY = {
    "modality": "Xray",
    "folder": "validation-public",
    "task_raw": "",
    "question": "?",
    "options": None,
    "choices": None,
    "separator": None,
    "images": [],
    "image_name": "[]",
    "labels": None,
    "number": None,
    "boxes": None,
    "instances": None,
    "convention": None,
    "source_file": "questions.json",
    "notes": [],
}


def box(x1, y1, x2, y2) -> dict:
    return {"x1": float(x1), "y1": float(y1), "x2": float(x2), "y2": float(y2)}


def row(place: int, task: str, answer: str, **changes) -> dict:
    """A row of a split; two rows share a case."""
    return (
        _EMPTY
        | {
            "uid": f"u{place:04d}",
            "dataset": f"{task}-set",
            "task": task,
            "case_id": f"case{place // 2}",
            "answer": answer,
            "answer_raw": json.dumps(answer),
            "source_row": place,
        }
        | changes
    )


def one_of_each() -> list[dict]:
    """One row for each task."""
    options = [{"letter": "A", "text": "Benign"}, {"letter": "B", "text": "Malignant"}]
    return [
        row(0, "classification", "B", options=options),
        row(1, "multi_label", "Caries; Crown", labels=["Caries", "Crown"], choices=["Caries", "Crown"], separator=";"),
        row(2, "detection", "[[1, 2, 30, 40]]", boxes=[box(1, 2, 30, 40)], convention="xyxy"),
        row(
            3,
            "instance_detection",
            '{"x": [[1, 2, 10, 10]]}',
            instances=[{"identity": "x", "box": box(1, 2, 11, 12)}],
            convention="xywh",
        ),
        row(4, "counting", "12", number=12.0),
        row(5, "regression", "33.5%", number=33.5),
        row(6, "report", "Small left pleural effusion."),
    ]


def prediction(uid: str, text: str, system: str = "base", finish: str = "stop") -> dict:
    return {"uid": uid, "system": system, "text": text, "finish": finish}


@pytest.fixture
def tables(tmp_path):
    """A function that writes a split and predictions and gives their paths."""

    def write(rows: list[dict], predictions: list[dict], name: str = "base"):
        split, answers = tmp_path / "split.parquet", tmp_path / f"{name}.parquet"
        write_table(split, rows, ROWS)
        write_table(answers, predictions, PREDICTIONS)
        return split, answers

    return write
