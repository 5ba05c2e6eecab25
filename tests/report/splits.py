"""Splits for tests of the page: one of a few rows scored by the real steps, and one of very many rows."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image as Pillow
from PIL import ImageDraw

from workflow_scripts.core.config.judges import JudgeSection, RuleBasedJudge
from workflow_scripts.core.config.report import Report
from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import (
    Agreement,
    Box,
    Comparison,
    ExpectedFormat,
    Image,
    Instance,
    JudgedFinding,
    LeftOutRow,
    MetricValue,
    Option,
    Outcome,
    Prediction,
    QuarantinedRow,
    ReportScore,
    Row,
    RowFact,
)
from workflow_scripts.core.tables import schema_of, write_rows, write_table
from workflow_scripts.score.comparisons import write_comparisons
from workflow_scripts.score.judge import judge
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.reports import write_reports

SYSTEMS = ["base", "tuned", "majority"]
JUDGE = "rules"
LETTER = ExpectedFormat(answer_by="letter", options=(Option("A", "Benign"), Option("B", "Malignant")))
LABELS = ExpectedFormat(labels=("Caries", "Crown", "Filling"), separator=";")

HOSTILE = (
    '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'
    "</script><svg onload=alert(1)>{{ 7 * 7 }}\u202egnp.exe\u2066 =cmd|'/c calc'!A1 \u2028 ]]> --> &amp;"
)
"""What a text may hold that must stay text."""

ROW_IMAGE = (1200, 900)
"""Width and height of the larger images, in pixels."""
MARK = (300, 200, 700, 500)
"""The box of the mark on each of them."""


def draw(path: Path, size: tuple[int, int], number: int, mark: tuple[int, int, int, int] | None = None) -> Image:
    """A grey image, different for each number, with a white box; JPEG or PNG by its name."""
    image = Pillow.new("RGB", size, (60, 60 + number % 60, 60 + number // 60 % 60))
    if mark is not None:
        x1, y1, x2, y2 = mark
        ImageDraw.Draw(image).rectangle((x1, y1, x2 - 1, y2 - 1), fill=(235, 235, 235))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)
    return Image(path.name, sha256_of_file(path), *size)


def make_row(place: int, task: str, answer: str, image: Image, **changes: Any) -> Row:
    """A row of a split."""
    values = {
        "uid": f"validation/{task}/questions/{place}",
        "subset": f"{task}-set",
        "modality": "Xray",
        "folder": "validation-public",
        "task": task,
        "task_raw": task,
        "case_id": f"case-{place}",
        "question": f"What does image {place} show?",
        "expected": ExpectedFormat(),
        "images": (image,),
        "image_name": json.dumps(image.path),
        "answer": answer,
        "answer_raw": json.dumps(answer),
        "source_file": "questions.json",
        "source_row": place,
    }
    return Row(**(values | changes))


def one_row_of_each(root: Path, start: int, modality: str) -> list[Row]:
    """A row for each task; the boxes lie in images of `ROW_IMAGE`."""
    large, mark = ROW_IMAGE, Box(*map(float, MARK))
    small = [draw(root / f"{start + n}.png", (160, 120), start + n) for n in range(5)]
    boxed = [draw(root / f"{start + n}.jpg", large, start + n, MARK) for n in range(2)]
    x1, y1, x2, y2 = MARK
    xyxy = ExpectedFormat(box_convention="xyxy", width=large[0], height=large[1])
    xywh = ExpectedFormat(box_convention="xywh", width=large[0], height=large[1])
    return [
        make_row(start, "classification", "B", small[0], expected=LETTER, labels=("B",), modality=modality),
        make_row(start + 1, "multi_label", "Caries; Crown", small[1], labels=("Caries", "Crown"), expected=LABELS),
        make_row(start + 2, "detection", json.dumps([MARK]), boxed[0], boxes=(mark,), expected=xyxy),
        make_row(
            start + 3,
            "instance_detection",
            json.dumps({"7": [[x1, y1, x2 - x1, y2 - y1]]}),
            boxed[1],
            instances=(Instance("7", mark),),
            expected=xywh,
        ),
        make_row(start + 4, "counting", "12", small[2], number=12.0, modality="Microscopy"),
        make_row(start + 5, "regression", "33.5", small[3], number=33.5, modality="Clinical"),
        make_row(start + 6, "report", "Cardiomegaly. Small left pleural effusion.", small[4]),
    ]


ANSWERS: dict[str, list[str | None]] = {
    "classification": ["B", "A", "(B) malignant", "I cannot tell from this image.", None],
    "multi_label": ["Caries; Crown", "Caries", "Filling", "Caries; Crown; Filling", "none of it"],
    "detection": [
        "[[300, 200, 700, 500]]",
        "[[320, 220, 700, 500]]",
        "[[10, 20, 110, 140]]",
        "[[300, 200, 700, 500], [900, 700, 1000, 800]]",
        "no box",
    ],
    "instance_detection": [
        '{"7": [[300, 200, 400, 300]]}',
        '{"7": [[340, 240, 360, 260]]}',
        '{"8": [[300, 200, 400, 300]]}',
        '{"7": [[0, 0, 50, 60]], "x": [[900, 700, 60, 50]]}',
        "{}",
    ],
    "counting": ["12", "13", "40", "many", "12 cells"],
    "regression": ["33.5", "35", "80.25", "unknown", "33.5"],
    "report": [
        "Cardiomegaly. Small left pleural effusion.",
        "Cardiomegaly.",
        "Heart size is normal.",
        "Cardiomegaly. Right pneumothorax.",
        "Cardiomegaly. Large right pleural effusion.",
    ],
}
"""Right first, then other ways to answer, None for no answer."""


def write_predictions(
    folder: Path, rows: Sequence[Row], system: str, choice: Callable[[int], int], ending: str
) -> Path:
    """The answers of a system; `choice` of a row's place says which of `ANSWERS`, and `ending` is written after it."""
    path = folder / f"predictions/{system}.parquet"
    texts = [(row, ANSWERS[row.task][choice(place) % 5]) for place, row in enumerate(rows)]
    entries = [
        Prediction(row.uid, system, text + ending, "stop", engine="transformers")
        for row, text in texts
        if text is not None
    ]
    write_rows(path, entries, Prediction)
    return path


def scored_split(
    folder: Path, copies: int = 5, change: Callable[[Row], Row] = lambda row: row, ending: str = ""
) -> dict[str, Any]:
    """A split of `copies` rows of each task and three systems, scored by the real steps: arguments of `write_page`.

    Args:
        folder: to write in.
        copies: rows of each task.
        change: what to make of each row.
        ending: what the base system writes after each answer.
    """
    root = folder / "root"
    rows = [
        change(row) for copy in range(copies) for row in one_row_of_each(root, 7 * copy, "Xray" if copy % 2 else "CT")
    ]
    split = folder / "splits/validation/rows.parquet"
    write_rows(split, rows, Row)
    choices: dict[str, Callable[[int], int]] = {
        "base": lambda place: place // 7 + 1,
        "tuned": lambda place: 0 if place // 7 < copies - 2 else place // 7,
        "majority": lambda place: 2,
    }
    endings = {"base": ending}
    predictions = [
        write_predictions(folder, rows, system, choices[system], endings.get(system, "")) for system in SYSTEMS
    ]
    outcomes, scores, findings = [], [], []
    judged = folder / "judged.parquet"
    judge(
        split=split,
        predictions=predictions,
        name=JUDGE,
        spec=JudgeSection(RuleBasedJudge()),
        store=folder / "store",
        out=judged,
    )
    for system, answers in zip(SYSTEMS, predictions, strict=True):
        place = folder / system
        write_outcomes(split=split, predictions=answers, system=system, out=place / "outcomes.parquet")
        named = {"out": place / "report_scores.parquet", "findings": place / "findings.parquet"}
        write_reports(split=split, predictions=answers, judgements=[judged], **named)
        outcomes.append(place / "outcomes.parquet")
        scores.append(place / "report_scores.parquet")
        findings.append(place / "findings.parquet")
    shared = {"outcomes": outcomes, "report_scores": scores, "rule_based_judges": [JUDGE]}
    scoring = Scoring(resamples=100)
    facts = folder / "facts.parquet"
    write_metrics(**shared, scoring=scoring, out=folder / "metrics.parquet", facts=facts)
    comparisons, agreement = folder / "comparisons.parquet", folder / "agreement.parquet"
    write_comparisons(**shared, scoring=scoring, baselines=["majority"], out=comparisons, agreement=agreement)
    write_rows(folder / "quarantine.parquet", [], QuarantinedRow)
    write_rows(folder / "splits/train/left_out.parquet", [], LeftOutRow)
    write_rows(folder / "splits/train/rows.parquet", [], Row)
    return {
        "report": Report(title="A split"),
        "systems": SYSTEMS,
        "metrics": folder / "metrics.parquet",
        "facts": facts,
        "comparisons": comparisons,
        "agreement": agreement,
        "split": split,
        "root": root,
        "outcomes": outcomes,
        "predictions": predictions,
        "findings": findings,
        "report_scores": scores,
        "quarantine": folder / "quarantine.parquet",
        "training": [folder / "splits/train/rows.parquet"],
        "left_out": [folder / "splits/train/left_out.parquet"],
        "tuned": [("base", "tuned")],
        "trained_on": [("tuned", "train")],
        "baselines": ["majority"],
        "rule_based_judges": [JUDGE],
        "out": folder / "page/index.html",
        "images": folder / "page/images",
        "workers": 1,
    }


def large_split(folder: Path, cases: int, images: int) -> dict[str, Any]:
    """A split of `cases` rows and five systems on `images` files, PNG and JPEG, with facts as `score_metrics` has them.

    The facts are written for all rows, with the names and numbers of a real run's, so that the table has its size.
    """
    root, rng = folder / "root", np.random.default_rng(5)
    systems = ["base", "tuned", "majority", "constant", "nearest"]
    coarse = Pillow.fromarray(rng.integers(0, 200, size=(48, 48, 3), dtype=np.uint8)).resize((768, 768))
    noise = np.asarray(coarse) + rng.integers(0, 12, size=(768, 768, 1), dtype=np.uint8)
    files = []
    for number in range(images):
        width, height = 256 + 64 * (number % 9), 256 + 64 * (number % 7)
        shift = int(number * 7 % 500)
        image = Pillow.fromarray(np.roll(noise, shift, axis=0)[:height, :width])
        image.putpixel((0, 0), (number % 256, number // 256, 0))
        path = root / f"{number}.{'jpg' if number % 2 else 'png'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, **({"quality": 85} if number % 2 else {"compress_level": 1}))
        files.append(Image(path.name, sha256_of_file(path), width, height))
    kinds = ("classification", "detection", "counting", "report")
    sentences = ("Heart size is normal.", "Small left pleural effusion.", "No pneumothorax.", "Clear lungs.")
    rows: list[Row] = []
    for place in range(cases):
        task = kinds[place % 4]
        image = files[place % images]
        corner = [float(value) for value in rng.integers(0, 100, size=2)]
        box = Box(corner[0], corner[1], corner[0] + 80, corner[1] + 90)
        report = " ".join(rng.permutation(sentences)) * 4
        values: dict[str, dict[str, Any]] = {
            "classification": {"answer": "B", "expected": LETTER, "labels": ("B",)},
            "detection": {"answer": json.dumps([list(box)]), "boxes": (box,)},
            "counting": {"answer": str(place % 40), "number": float(place % 40)},
            "report": {"answer": report},
        }
        question = f"Question {place}: what is to be seen on this image of series {place % 977}? " * 2
        shared = {"subset": f"{task}-{place % 5}", "question": question, "modality": ("Xray", "CT", "MRI")[place % 3]}
        rows.append(make_row(place, task, image=image, **(shared | values[task])))
    split = folder / "splits/validation/rows.parquet"
    write_rows(split, rows, Row)
    facts: list[pa.Table] = []
    names = ["row_score", *(f"fact {number}" for number in range(20))]
    outcomes, predictions, findings, scores = [], [], [], []
    for system in systems:
        levels = rng.choice([0.0, 0.5, 1.0], size=cases)
        table, answers, scored = [], [], []
        for place, row in enumerate(rows):
            reference = json.dumps([list(box) for box in row.boxes]) if row.boxes else json.dumps(row.answer)
            text = row.answer if levels[place] == 1 else f"{row.answer} or so, {place}"
            outcome = "valid" if place % 17 else "malformed"
            strict = reference if outcome == "valid" else None
            table.append(
                Outcome(
                    row.uid, system, row.subset, row.task, row.case_id, outcome,
                    strict, strict, reference, reference, False, text, text, False,
                )
            )  # fmt: skip
            answers.append(Prediction(row.uid, system, text, "stop", engine="transformers"))
            if row.task == "report":
                scored += [
                    ReportScore(row.uid, system, name, JUDGE if name == "crimson" else None, None, 0.5, "valid")
                    for name in ("bleu", "chrf", "crimson", "rouge_l")
                ]
        facts.append(
            pa.table(
                {
                    "uid": [row.uid for row in rows] * len(names),
                    "system": [system] * (cases * len(names)),
                    "task": [row.task for row in rows] * len(names),
                    "fact": [name for name in names for _ in rows],
                    "value": np.concatenate([levels, np.ones(cases * (len(names) - 1))]),
                },
                schema=schema_of(RowFact),
            )
        )
        for name, entries, kind, paths in (
            ("outcomes", table, Outcome, outcomes),
            ("predictions", answers, Prediction, predictions),
            ("findings", [], JudgedFinding, findings),
            ("report_scores", scored, ReportScore, scores),
        ):
            path = folder / system / f"{name}.parquet"
            write_rows(path, entries, kind)  # type: ignore[arg-type]
            paths.append(path)
    write_table(folder / "facts.parquet", pa.concat_tables(facts), RowFact)
    values_of = [
        MetricValue(system, task, subset, "score", None, None, None, "higher", 0.5, 0.4, 0.6, cases // 4, 100, 1.0, 0,
                    "flarebench", True)
        for system in systems for task in kinds for subset in ("macro", *(f"{task}-{n}" for n in range(5)))
    ]  # fmt: skip
    for name, entries, kind in (
        ("metrics", values_of, MetricValue),
        ("comparisons", [], Comparison),
        ("agreement", [], Agreement),
        ("quarantine", [], QuarantinedRow),
    ):
        write_rows(folder / f"{name}.parquet", entries, kind)  # type: ignore[arg-type]
    return {
        "report": Report(title="A large split"),
        "systems": systems,
        "metrics": folder / "metrics.parquet",
        "facts": folder / "facts.parquet",
        "comparisons": folder / "comparisons.parquet",
        "agreement": folder / "agreement.parquet",
        "split": split,
        "root": root,
        "outcomes": outcomes,
        "predictions": predictions,
        "findings": findings,
        "report_scores": scores,
        "quarantine": folder / "quarantine.parquet",
        "tuned": [("base", "tuned")],
        "baselines": systems[2:],
        "out": folder / "page/index.html",
        "images": folder / "page/images",
    }


def as_flags(arguments: dict[str, Any]) -> list[str]:
    """The command line of `report.page` for its arguments."""
    flags: list[str] = []
    for name, value in arguments.items():
        values = value if isinstance(value, list) else [value]
        parts = [part for entry in values for part in (entry if isinstance(entry, tuple) else (entry,))]
        texts = [part.model_dump_json() if isinstance(part, Report) else str(part) for part in parts]
        flags += [f"--{name.replace('_', '-')}", *texts] if texts else []
    return flags
