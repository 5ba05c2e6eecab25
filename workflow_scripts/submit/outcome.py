"""Step of a container: which questions have no answer and why, and how long all of it took."""

import json
import time
from collections.abc import Container, Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.files import read_json, write_json
from workflow_scripts.core.rows import QuarantinedRow
from workflow_scripts.core.tables import read_rows


@dataclass(frozen=True)
class Unanswered:
    """A record of the inputs that `predictions.json` has no answer to."""

    uid: str | None  # None: the question file as a whole
    file: str
    row: int | None  # in the file, from 0
    reason: str  # see data.conversion.reasons
    detail: str


@dataclass(frozen=True)
class Timing:
    """When the answers were computed, and how fast."""

    began: str  # UTC
    ended: str
    seconds: int
    answered: int
    unanswered: int
    answered_per_second: float
    limit_seconds: float | None
    within_limit: bool | None  # None without a limit


def write_outcome(
    *,
    predictions: Path,
    quarantine: Path,
    began: int,
    limit: float | None = None,
    strict: bool = False,
    unanswered: Path,
    timing: Path,
) -> str:
    """Write the records without an answer and how long it took.

    Args:
        predictions: the challenge's JSON of predictions
        quarantine: Parquet of the records that could not be asked
        began: when it began, in seconds since 1970
        limit: seconds that it may take
        strict: whether more than the limit is an error; else it is said, as a challenge may drop a run that fails
        unanswered: JSON to write: a list of records, each with its reason
        timing: JSON to write

    Raises:
        Refused: it took longer than a strict limit; all files are written.
    """
    answered = read_json(predictions)
    assert isinstance(answered, list)
    keys = {_key(record) for record in answered}
    missing = without_answer(read_rows(quarantine, QuarantinedRow), keys)
    write_json(unanswered, [asdict(entry) for entry in missing])
    ended = int(time.time())
    seconds = max(1, ended - began)
    within = None if limit is None else seconds <= limit
    rate = round(len(answered) / seconds, 3)
    times = Timing(_utc(began), _utc(ended), seconds, len(answered), len(missing), rate, limit, within)
    write_json(timing, asdict(times))
    said = f"{len(answered)} questions answered in {seconds} s ({rate} a second)"
    if missing:
        said += f"; {len(missing)} records cannot be asked, see {unanswered}"
    if within is False:
        said += f"; longer than the limit of {limit:g} s: give it a faster device, or fewer tokens an answer"
        if strict:
            raise Refused(said)
    return said


def without_answer(quarantine: Iterable[QuarantinedRow], keys: Container[str | None]) -> list[Unanswered]:
    """The records in quarantine whose key is none of the answered `keys`: a question may stand in two files."""
    return [
        Unanswered(entry.uid, entry.source_file, entry.source_row, entry.reason, entry.detail)
        for entry in quarantine
        if _key(_record(entry)) not in keys
    ]


def _record(entry: QuarantinedRow) -> object:
    try:
        return json.loads(entry.record)
    except ValueError:  # a whole file, or a record that was cut
        return None


def _key(record: object) -> str | None:
    """The challenge's key of a record; None where it has none."""
    if not isinstance(record, dict) or "ImageName" not in record or "Question" not in record:
        return None
    return f"{record['ImageName']}||{record['Question']}"


def _utc(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    run_step(write_outcome)
