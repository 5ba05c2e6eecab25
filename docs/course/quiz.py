"""The quiz of the course. It marks itself: every right answer is computed from the run's results when it is needed."""

from collections.abc import Callable
from dataclasses import dataclass

import pandas as pd
from architecture import architecture_of, read_config
from lessons import Course

from workflow_scripts.judges.crimson import crimson
from workflow_scripts.judges.green import GreenCounts, green

Answer = str | int | float | bool


@dataclass(frozen=True)
class Question:
    """A question with how its answer is computed, and the module that tells."""

    text: str
    answer: Callable[[Course], Answer]
    module: int


def _rows(course: Course) -> Answer:
    return len(course.rows(course.split))


def _commonest_reason(course: Course) -> Answer:
    return str(course.table("data/{dataset}/quarantine.parquet")["reason"].value_counts().index[0])


def _left_out(course: Course) -> Answer:
    return len(course.table("splits/{training}/left_out.parquet"))


def _largest_rate(course: Course) -> Answer:
    return float(course.table("systems/{tuned}/history.parquet")["learning_rate"].max())


def _texts(course: Course) -> Answer:
    outcomes = course.table("scores/{split}/{tuned}/outcomes.parquet")
    return int(outcomes.loc[outcomes["task"] == "report", "text"].nunique())


def _invalid(course: Course) -> Answer:
    outcomes = course.table("scores/{split}/{base}/outcomes.parquet")
    return int((outcomes["outcome"] != "valid").sum())


def _word_for_word(course: Course) -> Answer:
    reports = [row for row in course.rows(course.split) if row.task == "report"][:16]
    texts = course.table("predictions/{split}/{tuned}.parquet").set_index("uid")["text"]
    return sum(texts[row.uid] == row.answer for row in reports)


def _crimson(course: Course) -> Answer:
    effusion = {"id": "R1", "finding": "large effusion", "clinical_significance": "urgent"}
    device = {"id": "R2", "finding": "device", "clinical_significance": "actionable_not_urgent"}
    nodule = {"id": "P2", "finding": "nodule", "clinical_significance": "actionable_not_urgent"}
    return crimson(
        {
            "reference_findings": [effusion, device],
            "predicted_findings": [effusion | {"id": "P1"}, nodule],
            "matched_findings": [{"ref_id": "R1", "pred_id": "P1"}],
            "errors": {"missing_findings": ["R2"], "false_findings": ["P2"], "attribute_errors": []},
        }
    ).score


def _green(course: Course) -> Answer:
    return green(GreenCounts(matched=3, significant=(1, 1, 0, 0, 0, 0), insignificant=(4, 0, 0, 0, 0, 0)))


def _best_system(course: Course) -> Answer:
    lines = _primary(course)
    lines = lines[lines["task"] == "report"]
    return str(lines.loc[lines["value"].idxmax(), "system"])


def _beyond_chance(course: Course) -> Answer:
    lines = course.table("scores/{split}/comparisons.parquet")
    mine = (lines["system_a"] == course.base) & (lines["system_b"] == course.tuned)
    [line] = lines[mine & (lines["task"] == "report") & (lines["subset"] == "macro")].itertuples()
    return bool(line.p_holm < 0.05)


def _larger_gain(course: Course) -> Answer:
    lines = course.table("scores/{split}/metrics.parquet")
    lines = lines[(lines["metric"] == "crimson") & (lines["judge"] == course.judge) & (lines["subset"] == "macro")]
    values = lines.dropna(subset="stratum").pivot(index="stratum", columns="system", values="value")
    return str((values[course.tuned] - values[course.base]).idxmax())


def _primary(course: Course) -> pd.DataFrame:
    lines = course.table("scores/{split}/metrics.parquet")
    return lines[lines["primary"] & (lines["subset"] == "macro")]


QUESTIONS = (
    Question(
        "Into how many patches does MedGemma 1.5 cut an image?", lambda _: architecture_of(read_config()).patches, 2
    ),
    Question(
        "How many parameters would an adapter of rank 8 have on MedGemma 1.5, at the same places?",
        lambda _: architecture_of(read_config()).adapter_parameters(8),
        2,
    ),
    Question("How many rows does the evaluated split hold?", _rows, 3),
    Question("What is the commonest reason in the quarantine?", _commonest_reason, 3),
    Question("How many training rows were left out of the training split?", _left_out, 3),
    Question("What was the largest learning rate of the training?", _largest_rate, 4),
    Question("How many different report texts did the tuned system write?", _texts, 5),
    Question("How many answers of the base system are not valid?", _invalid, 5),
    Question("Of the first 16 reports, how many did the tuned system write word for word?", _word_for_word, 5),
    Question(
        "A reference names a large effusion (urgent) and a misplaced device (actionable). The report finds the "
        "effusion, misses the device, and adds a nodule that is not there (actionable). What is CRIMSON?",
        _crimson,
        6,
    ),
    Question("3 matched findings, 2 significant errors, 4 insignificant ones. What is GREEN?", _green, 6),
    Question("Which system heads the report task by its primary metric?", _best_system, 6),
    Question(
        "Is the difference between base and tuned reports beyond chance (Holm, 0.05)? True or False.", _beyond_chance, 6
    ),
    Question("Where did tuning gain more CRIMSON: on normal or on abnormal references?", _larger_gain, 6),
)


def questions() -> pd.DataFrame:
    """The questions, numbered from 1."""
    return pd.DataFrame(
        [(number, question.text) for number, question in enumerate(QUESTIONS, 1)], columns=["", "question"]
    )


def mark(course: Course, answers: dict[int, Answer]) -> pd.DataFrame:
    """One line a question: right, not yet (with the module that tells), or open.

    Args:
        answers: by the question's number. Numbers count as right within one percent, words in any letter case.
    """
    lines = []
    for number, question in enumerate(QUESTIONS, 1):
        if number not in answers:
            lines.append((number, "", "open"))
        elif agrees(answers[number], question.answer(course)):
            lines.append((number, answers[number], "right"))
        else:
            lines.append((number, answers[number], f"not yet: look at module {question.module}"))
    return pd.DataFrame(lines, columns=["question", "your answer", "mark"])


def agrees(given: Answer, right: Answer) -> bool:
    """Whether an answer is the right one."""
    if isinstance(right, str | bool):
        return str(given).strip().lower() == str(right).lower()
    try:
        return abs(float(given) - right) <= 0.01 * abs(right)
    except ValueError:
        return False
