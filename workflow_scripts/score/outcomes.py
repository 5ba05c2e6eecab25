"""Read every answer of a system and say what became of it: one row a question of the split.

`python -m workflow_scripts.score.outcomes --split S.parquet --predictions P.parquet --system NAME --out O.parquet`
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from workflow_scripts.core.answers import FinalAnswer, ReadingPart, Value, final_answer
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.rows import Outcome, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.tasks import load_part, tasks
from workflow_scripts.tasks.consensus import readings, share_of_consensus
from workflow_scripts.tasks.language.refusals import REFUSAL

TAIL = 1200
"""Characters at the end of an answer in which repetition is sought."""
NO_ANSWER = FinalAnswer("", thought=False, unfinished=False, after_turn=False)


def outcome_of(
    text: str | None,
    finish_reason: str,
    strict: Value | None,
    lenient: Value | None,
    *,
    free_text: bool,
    unfinished: bool = False,
) -> str:
    """valid, malformed, refused, looping, truncated or missing.

    An answer in the expected format is valid however it ended. Free text has no format, so it is valid unless it
    loops, is empty, refuses or was cut. An answer whose thought never ended is truncated.
    """
    if text is None:
        return "missing"
    if unfinished:
        return "truncated"
    if strict is not None and not free_text:
        return "valid"
    if is_looping(text):
        return "looping"
    if REFUSAL.search(text[:TAIL]) and (lenient is None or free_text):
        return "refused"
    if finish_reason == "length":
        return "truncated"
    return "malformed" if strict is None else "valid"


def is_looping(text: str) -> bool:
    """Whether the text ends in one unit repeated four times or more, over 24 characters or more.

    The unit may be cut at the very end. Prefix function of the reversed tail: linear time.
    """
    tail = text.rstrip()[-TAIL:][::-1]
    borders = [0] * len(tail)
    for place in range(1, len(tail)):
        border = borders[place - 1]
        while border and tail[place] != tail[border]:
            border = borders[border - 1]
        borders[place] = border + (tail[place] == tail[border])
        period = place + 1 - borders[place]
        if place + 1 >= max(24, 4 * period):
            return True
    return False


def outcomes_of(rows: Iterable[Row], predictions: Mapping[str, Prediction], system: str) -> list[Outcome]:
    """The outcome of each row of a split; `predictions` by uid.

    Raises:
        BadFile: a row lacks its typed answer.
    """
    return [_outcome(row, predictions.get(row.uid), system) for row in rows]


def _outcome(row: Row, prediction: Prediction | None, system: str) -> Outcome:
    reading: ReadingPart = load_part(row.task, "reading")
    final = NO_ANSWER if prediction is None else final_answer(prediction.model_text)
    said = None if prediction is None else final.text
    text = said if prediction is None or prediction.raw_text is None else final_answer(prediction.text).text
    fault = None if prediction is None else prediction.box_fault
    strict = None if text is None or fault else reading.read_strict(row.expected, text)
    lenient = strict if strict is not None or text is None or fault else reading.read_lenient(row.expected, text)
    finish_reason = "" if prediction is None else prediction.finish_reason
    samples, consistency = _samples(reading, row, prediction)
    free_text = tasks()[row.task].free_text
    return Outcome(
        uid=row.uid,
        system=system,
        subset=row.subset,
        task=row.task,
        case_id=row.case_id,
        outcome=outcome_of(said, finish_reason, strict, lenient, free_text=free_text, unfinished=final.unfinished),
        strict=None if strict is None else json.dumps(strict),
        lenient=None if lenient is None else json.dumps(lenient),
        reference=json.dumps(reading.reference(row)),
        reference_raw=row.answer_raw,
        percent=row.expected.percent,
        text=None if prediction is None else prediction.model_text,
        answer=text,
        thought=final.thought,
        box_fault=fault,
        samples=samples,
        consistency=consistency,
    )


def _samples(reading: ReadingPart, row: Row, prediction: Prediction | None) -> tuple[str | None, float | None]:
    """What several answers are read as, and the share that is read as the one that counts; None where there is one."""
    if prediction is None or not prediction.samples:
        return None, None
    values = readings(reading, row.expected, prediction.samples)
    place = prediction.samples.index(prediction.text)
    return json.dumps(values), share_of_consensus(values, place)


def predictions_by_uid(path: Path, uids: set[str]) -> dict[str, Prediction]:
    """The predictions of one system by uid.

    Raises:
        BadFile: a uid stands there twice, or is not in the split.
    """
    by_uid: dict[str, Prediction] = {}
    for prediction in read_rows(path, Prediction):
        uid = prediction.uid
        if uid in by_uid:
            raise BadFile(f"{path}: uid {uid} is predicted twice; delete the file and infer again")
        if uid not in uids:
            raise BadFile(f"{path}: uid {uid} is not in the split; these predictions belong to another split")
        by_uid[uid] = prediction
    return by_uid


def write_outcomes(*, split: Path, predictions: Path, system: str, out: Path) -> None:
    """Read the answers of a system and write what became of each.

    Args:
        split: table of the split's rows.
        predictions: table of the system's answers.
        system: name of the system in the configuration.
        out: table of outcomes to write.

    Raises:
        Refused: the source gives no answer to a row, so that nothing can be scored.
    """
    rows = read_rows(split, Row)
    without = [row.uid for row in rows if not row.has_answer]
    if without:
        raise Refused(f"{split}: {len(without)} rows have no answer to score by ({without[0]}); name another split")
    by_uid = predictions_by_uid(predictions, {row.uid for row in rows})
    write_rows(out, outcomes_of(rows, by_uid, system), Outcome)


if __name__ == "__main__":
    run_step(write_outcomes)
