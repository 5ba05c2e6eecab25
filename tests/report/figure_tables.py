"""Tables of a split with many classes, long and hostile names, and every kind of fault, for the tests of figures."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.rows import (
    Box,
    ExpectedFormat,
    Instance,
    JudgedFinding,
    JudgedPair,
    Outcome,
    ReportScore,
    Row,
)
from workflow_scripts.core.tables import write_rows
from workflow_scripts.core.training_rows import TrainingStep
from workflow_scripts.judges.crimson import ERROR_TYPES, WEIGHTS
from workflow_scripts.judges.judgements import pairs_of
from workflow_scripts.score.comparisons import write_comparisons
from workflow_scripts.score.metrics import write_metrics

SYSTEMS = ["medgemma-1.5-4b-it_base", "medgemma-1.5-4b-it_qlora-r64-3-epochs", "imported", "majority"]
SHOWN = SYSTEMS[:3]
PAIR = f"{SYSTEMS[0]}:{SYSTEMS[1]}"
EVIL = "<script>alert(1)</script> & \"q\" '{{ 7 * 7 }}' \u202egnp.exe \\n ]]>"
CLASSES = [EVIL] + [f"Grade {n} of a disease whose name is long, subtype {chr(65 + n)}" for n in range(29)]
LABELS = [EVIL.replace(",", "").replace(";", "")] + [f"Finding number {n} of the thoracic wall" for n in range(39)]
IDENTITIES = [*map(str, range(1, 23)), "x", "y"]
OUTCOMES = ("valid", "malformed", "refused", "looping", "truncated", "missing")


@dataclass(frozen=True)
class Tables:
    """Files of one split below a results folder."""

    results: Path
    split: Path
    metrics: Path
    comparisons: Path
    agreement: Path
    outcomes: list[Path]
    findings: list[Path]
    judgements: list[Path]
    histories: list[Path]

    def arguments(self, out: Path) -> dict:
        """What `write_figures` is called with."""
        return {
            "systems": SYSTEMS,
            "baselines": SYSTEMS[3:],
            "pairs": [PAIR],
            "split": self.split,
            "metrics": self.metrics,
            "comparisons": self.comparisons,
            "agreement": self.agreement,
            "outcomes": self.outcomes,
            "findings": self.findings,
            "judgements": self.judgements,
            "histories": self.histories,
            "results": self.results,
            "out": out,
        }


def row(task: str, subset: str, place: int, answer: str, /, **changes) -> Row:
    """A row without images."""
    fields = {"expected": ExpectedFormat(), "modality": "Xray"} | changes
    return Row(
        uid=f"{subset}/{place}",
        subset=subset,
        folder="validation",
        task=task,
        task_raw=task,
        case_id=f"{subset}-{place // 2}",
        question="What?",
        images=(),
        image_name="[]",
        answer=answer,
        answer_raw=json.dumps(answer),
        source_file="questions.json",
        source_row=place,
        **fields,
    )


def box(rng: np.random.Generator) -> list[float]:
    """A box in an image of 400 × 300 pixels."""
    left, top = rng.uniform(0, 300), rng.uniform(0, 200)
    return [round(left), round(top), round(left + rng.uniform(20, 100)), round(top + rng.uniform(20, 100))]


def near(rng: np.random.Generator, corners: list[float], spread: float) -> list[float]:
    """A box near another."""
    return [round(value + rng.normal(0, spread)) for value in corners]


def drawn_rows(rng: np.random.Generator) -> list[tuple[Row, object]]:
    """Rows of every task, each with its reference as the readers give it."""
    rows: list[tuple[Row, object]] = []
    for number in range(150):
        name = CLASSES[min(int(rng.exponential(6)), len(CLASSES) - 1)]
        rows.append((row("classification", "many-classes_of_a-subset-with-a-long-name", number, name), name))
    for number in range(20):
        name = "AB"[number % 2]
        rows.append((row("classification", "two", number, name), name))
    for number in range(60):
        names = sorted({LABELS[int(place)] for place in rng.exponential(8, 3) if place < len(LABELS)})
        rows.append((row("multi_label", "labels", number, "; ".join(names), labels=tuple(names)), names))
    for number in range(40):
        boxes = [box(rng) for _ in range(number % 4)]
        changes = {"boxes": tuple(Box(*corners) for corners in boxes)}
        rows.append((row("detection", "boxes", number, json.dumps(boxes), **changes), boxes))
    for number in range(16):
        of = {name: [box(rng), box(rng)] for name in IDENTITIES if rng.random() < 0.8}
        instances = tuple(Instance(name, Box(*corners)) for name, boxes in of.items() for corners in boxes)
        rows.append((row("instance_detection", "karyotypes", number, json.dumps(of), instances=instances), of))
    for number in range(120):
        count = float(round(np.exp(rng.uniform(0, 9.5))))
        rows.append((row("counting", "cells", number, f"{count:g}", number=count), count))
    for number in range(40):
        share = round(float(rng.uniform(5, 95)), 1)
        fields = {"number": share, "expected": ExpectedFormat(percent=True)}
        rows.append((row("regression", "bone", number, f"{share}%", **fields), share))
    for number in range(50):
        text = f"Finding {number % 30}. " * (1 + number % 40) if number % 3 else "Heart size is normal."
        rows.append((row("report", "chest", number, text.strip()), text.strip()))
    return rows


def answer_of(rng: np.random.Generator, task: str, reference: object, skill: float) -> object:
    """An answer that is right about as often as `skill`."""
    right = rng.random() < skill
    if task == "classification":
        return reference if right else CLASSES[int(rng.integers(len(CLASSES)))]
    if task == "multi_label":
        return [name for name in [*reference, LABELS[3]] if rng.random() < skill]
    if task == "detection":
        return [near(rng, corners, 20 * (1 - skill)) for corners in reference] + ([] if right else [box(rng)])
    if task == "instance_detection":
        return {name: [near(rng, corners, 25 * (1 - skill)) for corners in boxes] for name, boxes in reference.items()}
    if task == "counting":
        return 9e14 if rng.random() < 0.03 else round(float(reference * np.exp(rng.normal(0, 1.2 * (1 - skill)))))
    if task == "regression":
        return round(float(reference + rng.normal(0, 30 * (1 - skill))), 1)
    return reference if right else "Heart size is normal."


def write_split(results: Path, seed: int = 5) -> Tables:
    """Write all tables of a split `validation` below `results`."""
    rng = np.random.default_rng(seed)
    rows = drawn_rows(rng)
    scores = results / "scores/validation"
    split = results / "splits/validation/rows.parquet"
    write_rows(split, [row for row, _ in rows], Row)
    texts: dict[str, dict[str, str]] = {}
    outcomes, scored = [], []
    for system, skill in zip(SYSTEMS, (0.35, 0.8, 0.6, 0.1), strict=True):
        table = []
        for row_, reference in rows:
            value = answer_of(rng, row_.task, reference, skill)
            fate = "valid" if rng.random() < 0.5 + skill / 2 else OUTCOMES[int(rng.integers(1, 6))]
            text = None if fate == "missing" else value if isinstance(value, str) else json.dumps(value)
            read = json.dumps(value) if fate == "valid" or (row_.task == "report" and text is not None) else None
            table.append(
                Outcome(
                    uid=row_.uid,
                    system=system,
                    subset=row_.subset,
                    task=row_.task,
                    case_id=row_.case_id,
                    outcome=fate,
                    strict=read,
                    lenient=read,
                    reference=json.dumps(reference),
                    reference_raw=row_.answer_raw,
                    percent=row_.expected.percent,
                    text=text,
                    answer=text,
                    thought=False,
                )
            )
        path = scores / system / "outcomes.parquet"
        write_rows(path, table, Outcome)
        outcomes.append(path)
        texts[system] = {entry.uid: entry.text for entry in table if entry.text is not None}
    judged, findings = judgements_of([row for row, _ in rows], texts, rng)
    judgement_path = scores / "judgements/lab.1-of-1.parquet"
    write_rows(judgement_path, judged, JudgedPair)
    finding_path = scores / SYSTEMS[0] / "findings.parquet"
    write_rows(finding_path, findings, JudgedFinding)
    for system in SYSTEMS:
        table = [
            ReportScore(row_.uid, system, name, judge, None, float(rng.uniform(0, 1)), "valid")
            for row_, _ in rows
            if row_.task == "report"
            for name, judge in REPORT_METRICS
        ]
        path = scores / system / "report_scores.parquet"
        write_rows(path, table, ReportScore)
        scored.append(path)
    metrics, comparisons, agreement = (scores / f"{name}.parquet" for name in ("metrics", "comparisons", "agreement"))
    scoring = Scoring(resamples=100)
    write_metrics(outcomes=outcomes, scoring=scoring, out=metrics, report_scores=scored)
    write_comparisons(
        outcomes=outcomes,
        scoring=scoring,
        out=comparisons,
        agreement=agreement,
        report_scores=scored,
        baselines=SYSTEMS[3:],
    )
    history = results / "systems" / SYSTEMS[1] / "history.parquet"
    write_rows(history, steps(4000, rng), TrainingStep)
    return Tables(
        results, split, metrics, comparisons, agreement, outcomes, [finding_path], [judgement_path], [history]
    )


REPORT_METRICS = [
    ("bleu", None),
    ("chrf", None),
    ("rouge_l", None),
    ("meteor_stem", None),
    ("bertscore", None),
    ("rule_green_2025", None),
    ("crimson", "lab_judge_with_a_long_name"),
    ("green", "lab_judge_with_a_long_name"),
    ("green", "second"),
]


def judgements_of(rows, texts, rng) -> tuple[list[JudgedPair], list[JudgedFinding]]:
    """A judge's replies and findings for every pair of all systems, drawn at random."""
    pairs = {pair.key: pair for of_system in texts.values() for pair in pairs_of(rows, of_system).values()}
    judged, findings = [], []
    for place, (key, pair) in enumerate(pairs.items()):
        status = "invalid" if place % 17 == 0 else "valid"
        for judge, metric in (("lab", "crimson"), ("green_lab", "green")):
            reply = green_reply(rng) if metric == "green" else "{}"
            judged.append(
                JudgedPair(
                    key, judge, "openai", (metric,), pair.context, pair.reference, pair.hypothesis, status, reply, None
                )
            )
        if status == "valid":
            for number in range(int(rng.integers(0, 5))):
                grade = [*WEIGHTS, "unheard of"][int(rng.integers(5))]
                fate = ("matched", "missing", "false")[int(rng.integers(3))]
                side = "predicted" if fate == "false" else "reference"
                kind = (*ERROR_TYPES, EVIL)[int(rng.integers(9))]
                errors = (f"{kind} ({('significant', 'negligible')[number % 2]})",) if fate == "matched" else ()
                findings.append(JudgedFinding(key, "lab", side, f"R{number}", EVIL, grade, fate, (), errors))
    return judged, findings


def green_reply(rng: np.random.Generator) -> str:
    """A reply of a GREEN judge."""
    counts = "\n".join(f"({letter}) Error: {int(rng.integers(0, 3))}. x" for letter in "abcdef")
    return (
        f"[Explanation]: x\n[Clinically Significant Errors]:\n{counts}\n"
        f"[Clinically Insignificant Errors]:\n[Matched Findings]:\n{int(rng.integers(0, 4))}. x"
    )


def steps(count: int, rng: np.random.Generator) -> list[TrainingStep]:
    """A training log with evaluations."""
    return [
        TrainingStep(
            step=number + 1,
            epoch=3 * (number + 1) / count,
            loss=float(2 * np.exp(-number / count * 3) + rng.gamma(2, 0.05)),
            token_accuracy=float(min(1.0, 0.5 + 0.4 * number / count + rng.normal(0, 0.05))),
            learning_rate=2e-4 * (1 - number / count),
            gradient_norm=float(rng.gamma(2, 0.3)),
            entropy=float(rng.gamma(3, 0.2)),
            evaluation_loss=float(1.5 - number / count) if (number + 1) % 500 == 0 else None,
        )
        for number in range(count)
    ]
