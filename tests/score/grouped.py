"""Answers of simulated hospitals, and the gaps between them."""

import numpy as np

from workflow_scripts.core.config.scoring import Scoring
from workflow_scripts.core.groups.rows import GroupGap
from workflow_scripts.core.metrics import ScoredAnswer
from workflow_scripts.core.tasks import load_part
from workflow_scripts.score.grouping.cuts import cut_by, values_of
from workflow_scripts.score.grouping.estimates import estimates_of, measured
from workflow_scripts.score.groups import gap_lines
from workflow_scripts.score.task_facts import TaskFacts

SCORING = Scoring(resamples=100)


def answered(
    rng: np.random.Generator, task: str, sizes: list[int], ability: list[float], rows_of_case: int = 1
) -> tuple[TaskFacts, list[str]]:
    """A task of two classes, or of numbers, and each row's hospital.

    Args:
        rng: of the answers.
        task: with classes or with numbers.
        sizes: cases by hospital.
        ability: by hospital: share of right rows, or mean error.
        rows_of_case: rows of a case; half of them are right or wrong together.
    """
    answers, hospitals = [], []
    for hospital, (size, level) in enumerate(zip(sizes, ability, strict=True)):
        for case in range(size):
            shared = rng.random()
            for _ in range(rows_of_case):
                luck = shared if rng.random() < 0.5 else rng.random()
                reference: object = "ab"[int(rng.random() < 0.3)]
                answer: object = reference if luck < level else "ab"[int(reference == "a")]
                if task == "counting":
                    reference = float(rng.integers(1, 60))
                    answer = reference + rng.exponential(level) * 2 * shared
                uid, case_id = f"u{len(answers)}", f"{hospital}-{case}"
                answers.append(ScoredAnswer(uid, "ds", case_id, "valid", answer, answer, reference, str(answer)))
                hospitals.append("ABCDEFGH"[hospital])
    facts = load_part(task, "metrics").facts(answers)
    subsets, cases = np.array(["ds"] * len(answers)), np.array([answer.case_id for answer in answers])
    return TaskFacts(task, [answer.uid for answer in answers], subsets, cases, {"base": facts}), hospitals


def gaps_of(task: TaskFacts, hospitals: list[str], seed: int, least_cases: int = 10) -> list[GroupGap]:
    """The gaps of the one system between hospitals."""
    scoring = SCORING.model_copy(update={"seed": seed})
    values, one = values_of(hospitals), measured("base", task.systems["base"])
    cut = cut_by(task, values, least_cases)["ds"]
    place = estimates_of(task, [one], cut, "ds", "hospital", scoring)["base"]
    return gap_lines(task, one, place, "hospital", values.names, scoring.confidence)


def excludes_zero(line: GroupGap) -> bool:
    return line.low is not None and line.high is not None and (line.low > 0 or line.high < 0)
