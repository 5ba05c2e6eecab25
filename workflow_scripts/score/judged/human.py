"""Recorded human scores of answers: JSON lines, one an answer."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rubrics.stated import BadRubric
from workflow_scripts.judges.judgements import Pair, rubric_context
from workflow_scripts.judges.rubrics.rubric import Rubric, resolved

EXPECTED = "question, reference, hypothesis, rubric, and scores (a list) or score"


@dataclass(frozen=True)
class HumanScore:
    """An answer with the scores of its raters."""

    pair: Pair
    rubric: Rubric
    scores: tuple[float, ...]


def read_human_scores(path: Path) -> list[HumanScore]:
    """The records of a file, in their order.

    Raises:
        BadFile: the file is missing or empty, a line is no such record, a score is not on its rubric's scale, or two
            lines are of one answer.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise BadFile(f"{path} is missing; it should hold recorded human scores: {EXPECTED} a line") from None
    except (OSError, ValueError) as error:
        raise BadFile(f"{path} cannot be read: {error}") from None
    records: dict[Pair, HumanScore] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            record = _record(json.loads(line))
        except (BadRubric, ValueError, RecursionError) as fault:
            raise BadFile(f"{path}, line {number}: {fault}") from None
        if record.pair in records:
            raise BadFile(f"{path}, line {number}: this answer stands there before; list its scores in one line")
        records[record.pair] = record
    if not records:
        raise BadFile(f"{path} holds no record; expected {EXPECTED} a line")
    return list(records.values())


def _record(given: Any) -> HumanScore:
    if not isinstance(given, dict):
        raise ValueError(f"expected an object of {EXPECTED}")
    texts = [given.get(name) for name in ("question", "reference", "hypothesis")]
    if not all(isinstance(value, str) for value in texts) or "rubric" not in given:
        raise ValueError(f"expected {EXPECTED}")
    question, reference, hypothesis = map(str, texts)
    rubric = resolved(given["rubric"])
    scores = given.get("scores", [given["score"]] if "score" in given else None)
    if not isinstance(scores, list) or not scores:
        raise ValueError("expected `scores`, a list of one number or more, or `score`")
    for score in scores:
        if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
            raise ValueError(f"the score {score!r} is no number")
        if not rubric.scale.least <= score <= rubric.scale.most or (rubric.allowed and score not in rubric.allowed):
            allowed = ", ".join(f"{value:g}" for value in rubric.allowed)
            raise ValueError(
                f"the score {score:g} is not on the scale of {rubric.name}: "
                + (allowed or f"{rubric.scale.least:g} to {rubric.scale.most:g}")
            )
    pair = Pair(reference.strip(), hypothesis.strip(), canonical_json(rubric_context(question, given["rubric"])))
    return HumanScore(pair, rubric, tuple(map(float, scores)))
