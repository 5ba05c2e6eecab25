"""Read every answer of a system and say what became of it: one row a question of the split.

`python -m workflow_scripts.score.outcomes --split S.parquet --predictions P.parquet --system NAME --out O.parquet`
"""

import argparse
import json
from collections.abc import Iterable
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tables import OUTCOMES, PREDICTIONS, ROWS, has_answer, read_table, write_table
from workflow_scripts.tasks.expected import Asked, Value, asked_of, gold_of, squeezed, words_by_question
from workflow_scripts.tasks.lenient import REFUSAL, read_lenient
from workflow_scripts.tasks.strict import read_strict

TAIL = 1200
"""Characters at the end of an answer in which repetition is sought."""


def outcome_of(asked: Asked, text: str | None, finish: str, strict: Value | None, lenient: Value | None) -> str:
    """valid, malformed, refused, looping, truncated or missing.

    An answer in the asked format is valid however it ended; a report has no format, so it is valid unless it loops,
    is empty, refuses or was cut.
    """
    if text is None:
        return "missing"
    if strict is not None and asked.task != "report":
        return "valid"
    if is_looping(text):
        return "looping"
    if REFUSAL.search(text[:TAIL]) and (lenient is None or asked.task == "report"):
        return "refused"
    if finish == "length":
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


def outcome_rows(rows: Iterable[dict], predictions: dict[str, dict], system: str) -> list[dict]:
    """One OUTCOMES row for each row of a split; `predictions` by uid."""
    rows = list(rows)
    words = words_by_question(rows)
    found = []
    for row in rows:
        asked = asked_of(row, words.get((row["dataset"], squeezed(row["question"])), ()))
        prediction = predictions.get(row["uid"])
        text = prediction["text"] if prediction else None
        strict = None if text is None else read_strict(asked, text)
        lenient = strict if strict is not None or text is None else read_lenient(asked, text)
        found.append(
            {
                "uid": row["uid"],
                "system": system,
                "dataset": row["dataset"],
                "task": row["task"],
                "case_id": row["case_id"],
                "outcome": outcome_of(asked, text, prediction["finish"] if prediction else "", strict, lenient),
                "strict": None if strict is None else json.dumps(strict),
                "lenient": None if lenient is None else json.dumps(lenient),
                "gold": json.dumps(gold_of(row)),
                "text": text,
            }
        )
    return found


def predictions_by_uid(path: Path, uids: set[str]) -> dict[str, dict]:
    """The predictions of one system by uid.

    Raises:
        BadFile: a uid stands there twice, or is not in the split.
    """
    found: dict[str, dict] = {}
    for prediction in read_table(path, PREDICTIONS).to_pylist():
        uid = prediction["uid"]
        if uid in found:
            raise BadFile(f"{path}: uid {uid} is predicted twice; delete the file and infer again")
        if uid not in uids:
            raise BadFile(f"{path}: uid {uid} is not in the split; these predictions belong to another split")
        found[uid] = prediction
    return found


def read_outcomes(split: Path, predictions: Path, system: str, out: Path) -> None:
    """Read the answers of `system` and write the outcomes.

    Raises:
        Refused: the source gives no answer to a row, so that nothing can be scored.
    """
    rows = read_table(split, ROWS).to_pylist()
    without = [row["uid"] for row in rows if not has_answer(row)]
    if without:
        raise Refused(f"{split}: {len(without)} rows have no answer to score by ({without[0]}); name another split")
    by_uid = predictions_by_uid(predictions, {row["uid"] for row in rows})
    write_table(out, outcome_rows(rows, by_uid, system), OUTCOMES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--predictions", type=Path, required=True)
    parser.add_argument("--system", required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    read_outcomes(given.split, given.predictions, given.system, given.out)


if __name__ == "__main__":
    run_step(main)
