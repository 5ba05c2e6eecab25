"""How long task scoring takes on a CPU: 5,000 rows × 4 systems with intervals and tests, and 58,112 free-text answers.

`python benchmarks/score_cpu.py [--rows 5000] [--systems 4] [--answers 58112]` prints seconds and peak memory as JSON.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path

from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.metrics import Answer
from workflow_scripts.core.tables import OUTCOMES, PREDICTIONS, ROWS, read_table, write_table
from workflow_scripts.core.tasks import TASKS
from workflow_scripts.score.comparisons import compare_systems
from workflow_scripts.score.metrics import score_systems
from workflow_scripts.score.outcomes import read_outcomes
from workflow_scripts.score.task_facts import FACTS, facts_of_tasks
from workflow_scripts.synthetic import terms
from workflow_scripts.tasks.report.metrics import ReportScores

TEXT = "the image shows a lesion with an irregular border that could be benign or malignant in the upper zone"


def made_row(rng: random.Random, number: int) -> dict:
    """One row of a split, the tasks in turn, two data sets a task, three rows a case."""
    task = TASKS[number % len(TASKS)]
    row = dict.fromkeys(ROWS.names) | {
        "uid": f"row/{number:06d}",
        "dataset": f"{task}-{rng.randrange(2)}",
        "modality": "Xray",
        "folder": "validation-public",
        "task": task,
        "task_raw": task,
        "case_id": f"case{number // 3}",
        "question": "?",
        "images": [],
        "image_name": "[]",
        "answer_raw": "",
        "source_file": "questions.json",
        "source_row": number,
        "notes": [],
    }

    def box() -> dict:
        x, y = rng.randrange(60), rng.randrange(60)
        return {"x1": x, "y1": y, "x2": x + rng.randrange(8, 40), "y2": y + rng.randrange(8, 40)}

    match task:
        case "classification":
            options = [
                {"letter": letter, "text": text} for letter, text in zip(terms.LETTERS, terms.SKIN, strict=False)
            ]
            return row | {"options": options, "answer": rng.choice(options)["letter"]}
        case "multi_label":
            labels = [label for label in terms.CHEST if rng.random() < 0.4]
            return row | {"labels": labels, "answer": ", ".join(labels), "choices": list(terms.CHEST), "separator": ","}
        case "detection":
            boxes = [box() for _ in range(rng.randrange(1, 4))]
            return row | {"boxes": boxes, "answer": json.dumps([list(b.values()) for b in boxes]), "convention": "xyxy"}
        case "instance_detection":
            placed = [{"identity": str(1 + n % 24), "box": box()} for n in range(46)]
            answer: dict[str, list] = {}
            for instance in placed:
                answer.setdefault(instance["identity"], []).append(list(instance["box"].values()))
            return row | {"instances": placed, "answer": json.dumps(answer), "convention": "xyxy"}
        case "counting":
            value = rng.randrange(3000)
            return row | {"number": value, "answer": str(value)}
        case "regression":
            value = round(rng.uniform(0, 100), 2)
            return row | {"number": value, "answer": str(value)}
        case _:
            return row | {"answer": rng.choice(terms.SENTENCES)}


def score_all(folder: Path, rows: int, systems: int) -> dict[str, float]:
    """Seconds of each step for `systems` systems over `rows` rows, with the default intervals and tests."""
    rng = random.Random(0)
    split = [made_row(rng, number) for number in range(rows)]
    write_table(folder / "split", split, ROWS)
    by_task = {task: [row["answer"] for row in split if row["task"] == task] for task in TASKS}
    seconds = {"read": 0.0}
    outcomes = []
    for system in range(systems):
        texts = [row["answer"] if rng.random() < 0.2 * system else rng.choice(by_task[row["task"]]) for row in split]
        said = [
            {"uid": row["uid"], "system": f"s{system}", "text": text, "finish": "stop"}
            for row, text in zip(split, texts, strict=True)
        ]
        write_table(folder / f"p{system}", said, PREDICTIONS)
        start = time.perf_counter()
        read_outcomes(folder / "split", folder / f"p{system}", f"s{system}", folder / f"o{system}")
        seconds["read"] += time.perf_counter() - start
        outcomes.append(folder / f"o{system}")
    start = time.perf_counter()
    score_systems(outcomes, [], Scoring(), folder / "m")
    seconds["metrics"] = time.perf_counter() - start
    start = time.perf_counter()
    compare_systems(outcomes, [], [], Scoring(), folder / "c", folder / "a")
    seconds["comparisons"] = time.perf_counter() - start
    return seconds


def point_metrics(folder: Path, answers: int) -> dict[str, float]:
    """Seconds to read free-text answers and compute their point metrics, without intervals."""
    rng = random.Random(1)
    split = [made_row(rng, number) for number in range(answers)]
    write_table(folder / "split", split, ROWS)
    said = [
        {"uid": row["uid"], "system": "s", "text": f"{' '.join(rng.choices(TEXT.split(), k=20))} {n}", "finish": "stop"}
        for n, row in enumerate(split)
    ]
    write_table(folder / "p", said, PREDICTIONS)
    start = time.perf_counter()
    read_outcomes(folder / "split", folder / "p", "s", folder / "o")
    reading = time.perf_counter() - start
    table = read_table(folder / "o", OUTCOMES)
    start = time.perf_counter()
    scores: ReportScores = {}
    for task in facts_of_tasks([table], scores):
        for facts in task.systems.values():
            sums = facts.unpacked(facts.packed().sum(axis=0))
            for measure in facts.measures:
                measure.finish(sums)
    mixed = time.perf_counter() - start
    free = [
        Answer("d", str(n), "malformed", None, None, rng.choice("ABCDEFGH"), row["text"]) for n, row in enumerate(said)
    ]
    start = time.perf_counter()
    facts = FACTS["classification"](free)
    sums = facts.unpacked(facts.packed().sum(axis=0))
    for measure in facts.measures:
        measure.finish(sums)
    return {"read": reading, "all tasks": mixed, "all classification": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--systems", type=int, default=4)
    parser.add_argument("--answers", type=int, default=58_112)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scoring = score_all(Path(folder), given.rows, given.systems)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        points = point_metrics(Path(folder), given.answers)
    print(
        json.dumps(
            {
                f"{given.rows} rows x {given.systems} systems, s": {k: round(v, 2) for k, v in scoring.items()},
                "total, s": round(sum(scoring.values()), 2),
                "peak, MiB": round(peak),
                f"{given.answers} free-text answers, s": {k: round(v, 2) for k, v in points.items()},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
