"""How long task scoring takes on a CPU: 5,000 rows × 4 systems with intervals and tests, and 58,112 free-text answers.

`python -m benchmarks.score_cpu [--rows 5000] [--systems 4] [--answers 58112]` prints CPU seconds and MiB as JSON.
"""

import argparse
import json
import random
import resource
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.metrics import Facts, ScoredAnswer
from workflow_scripts.core.rows import Box, ExpectedFormat, Instance, Option, Outcome, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.score.comparisons import write_comparisons
from workflow_scripts.score.metrics import write_metrics
from workflow_scripts.score.outcomes import write_outcomes
from workflow_scripts.score.task_facts import facts_of_tasks
from workflow_scripts.synthetic import terms

TEXT = "the image shows a lesion with an irregular border that could be benign or malignant in the upper zone"


def example_row(rng: random.Random, number: int) -> Row:
    """One row of a split, the tasks in turn, two subsets a task, three rows a case."""
    names = list(tasks())
    task = names[number % len(names)]
    row = Row(
        uid=f"row/{number:06d}",
        subset=f"{task}-{rng.randrange(2)}",
        modality="Xray",
        folder="validation-public",
        task=task,
        task_raw=task,
        case_id=f"case{number // 3}",
        question="?",
        expected=ExpectedFormat(),
        images=(),
        image_name="[]",
        answer="",
        answer_raw="",
        source_file="questions.json",
        source_row=number,
    )

    def box() -> Box:
        x, y = rng.randrange(60), rng.randrange(60)
        return Box(x, y, x + rng.randrange(8, 40), y + rng.randrange(8, 40))

    match task:
        case "classification":
            options = tuple(Option(letter, text) for letter, text in zip(terms.LETTERS, terms.SKIN, strict=False))
            return replace(row, expected=ExpectedFormat("letter", options), answer=rng.choice(options).letter)
        case "multi_label":
            labels = tuple(label for label in terms.CHEST if rng.random() < 0.4)
            expected = ExpectedFormat(labels=terms.CHEST, separator=",")
            return replace(row, expected=expected, labels=labels, answer=", ".join(labels))
        case "detection":
            boxes = tuple(box() for _ in range(rng.randrange(1, 4)))
            expected = ExpectedFormat(box_convention="xyxy")
            return replace(row, expected=expected, boxes=boxes, answer=json.dumps(boxes))
        case "instance_detection":
            instances = tuple(Instance(str(1 + n % 24), box()) for n in range(46))
            answer: dict[str, list[Box]] = {}
            for instance in instances:
                answer.setdefault(instance.identity, []).append(instance.box)
            expected = ExpectedFormat(box_convention="xyxy")
            return replace(row, expected=expected, instances=instances, answer=json.dumps(answer))
        case "counting":
            count = rng.randrange(3000)
            return replace(row, number=float(count), answer=str(count))
        case "regression":
            value = round(rng.uniform(0, 100), 2)
            return replace(row, number=value, answer=str(value))
        case _:
            return replace(row, answer=rng.choice(terms.SENTENCES))


def with_sources(rows: Iterable[Row]) -> list[Row]:
    """The rows with their answer's text as the source's value."""
    return [replace(row, answer_raw=json.dumps(row.answer)) for row in rows]


def score_all(folder: Path, rows: int, systems: int) -> dict[str, float]:
    """Seconds of each step for `systems` systems over `rows` rows, with the default intervals and tests."""
    rng = random.Random(0)
    split = with_sources(example_row(rng, number) for number in range(rows))
    write_rows(folder / "split", split, Row)
    by_task = {task: [row.answer for row in split if row.task == task] for task in tasks()}
    seconds = {"read": 0.0}
    outcomes = []
    for system in range(systems):
        texts = [row.answer if rng.random() < 0.2 * system else rng.choice(by_task[row.task]) for row in split]
        name, predictions, out = f"s{system}", folder / f"p{system}", folder / f"o{system}"
        answers = [Prediction(row.uid, name, text, "stop") for row, text in zip(split, texts, strict=True)]
        write_rows(predictions, answers, Prediction)
        start = time.process_time()
        write_outcomes(split=folder / "split", predictions=predictions, system=name, out=out)
        seconds["read"] += time.process_time() - start
        outcomes.append(out)
    start = time.process_time()
    write_metrics(outcomes=outcomes, scoring=Scoring(), out=folder / "m")
    seconds["metrics"] = time.process_time() - start
    start = time.process_time()
    write_comparisons(outcomes=outcomes, scoring=Scoring(), out=folder / "c", agreement=folder / "a")
    seconds["comparisons"] = time.process_time() - start
    return seconds


def point_metrics(folder: Path, answers: int) -> dict[str, float]:
    """Seconds to read free-text answers and compute their point metrics, without intervals."""
    rng = random.Random(1)
    split = with_sources(example_row(rng, number) for number in range(answers))
    write_rows(folder / "split", split, Row)
    texts = [f"{' '.join(rng.choices(TEXT.split(), k=20))} {number}" for number in range(answers)]
    predictions = [Prediction(row.uid, "s", text, "stop") for row, text in zip(split, texts, strict=True)]
    write_rows(folder / "p", predictions, Prediction)
    start = time.process_time()
    write_outcomes(split=folder / "split", predictions=folder / "p", system="s", out=folder / "o")
    reading = time.process_time() - start
    outcomes = read_rows(folder / "o", Outcome)
    start = time.process_time()
    for task in facts_of_tasks([outcomes], {}):
        for facts in task.systems.values():
            compute(facts)
    mixed = time.process_time() - start
    free = [
        ScoredAnswer(str(n), "s", str(n), "malformed", None, None, rng.choice("ABCDEFGH"), text)
        for n, text in enumerate(texts)
    ]
    start = time.process_time()
    compute(load_part("classification", "metrics").facts(free))
    return {"read": reading, "all tasks": mixed, "all classification": time.process_time() - start}


def compute(facts: Facts) -> None:
    """Every metric once, over all rows."""
    sums = facts.unpacked(facts.packed().sum(axis=0))
    for metric in facts.metrics:
        metric.value(sums)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--systems", type=int, default=4)
    parser.add_argument("--answers", type=int, default=58_112)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scoring = score_all(Path(folder), arguments.rows, arguments.systems)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        points = point_metrics(Path(folder), arguments.answers)
    print(
        json.dumps(
            {
                f"{arguments.rows} rows x {arguments.systems} systems, s": {k: round(v, 2) for k, v in scoring.items()},
                "total, s": round(sum(scoring.values()), 2),
                "peak, MiB": round(peak),
                f"{arguments.answers} free-text answers, s": {k: round(v, 2) for k, v in points.items()},
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
