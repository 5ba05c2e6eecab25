"""Step: read predictions of another project as those of a system.

A prediction names its row in one of three ways, and all are exact:

1. by our uid;
2. by FLARE26-MedGemma's uid, `split:subset:file:case:task:row`: the file's name without its ending, the stem of the
   row's first image as that project writes it, and the row's place in the file, from 0;
3. by the challenge's key `str(ImageName)||Question`, or by these two fields.

Each entry of the file is the prediction of one row, or stands in the table of unmatched ones with a reason:
`unreadable`, `no_key`, `no_prediction`, `bad_text` (half a surrogate pair), `not_in_split`, `ambiguous` (several rows
bear the name), `repeated` (the row's same answer again), `contradictory` (the row has different answers: none counts).
A row of the split without a prediction stays without one, and is scored as missing.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path, PurePosixPath

from workflow_scripts.cache.given_files import reading
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.rows import Prediction, Row, UnmatchedPrediction
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.infer.prediction_files import Entry, challenge_key, read_predictions

_SPLITS = {
    "training": "train",
    "validation-public": "validation",
    "validation-hidden": "validation_hidden",
    "testing": "testing",
}
"""FLARE26-MedGemma's names of the split folders."""


class Names:
    """The rows of a split by each of their names."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self._uids: set[str] = set()
        self._others: dict[str, list[str]] = {}
        for row in rows:
            self._uids.add(row.uid)
            for name in (flare26_uid(row), challenge_key(json.loads(row.image_name), row.question)):
                self._others.setdefault(name, []).append(row.uid)

    def find(self, name: str) -> list[str]:
        """Uids of the rows that bear `name`."""
        if name in self._uids:
            return [name]
        return self._others.get(name) or self._others.get(_without_task(name), [])


def flare26_uid(row: Row) -> str:
    """FLARE26-MedGemma's uid of a row without its task, which the other parts imply."""
    names = json.loads(row.image_name)
    first = names if isinstance(names, str) else names[0]
    case = re.sub(r"[^A-Za-z0-9_.-]+", "_", PurePosixPath(first.strip()).stem).strip("_")
    file = PurePosixPath(row.source_file).stem
    return f"{_SPLITS[row.folder]}:{row.subset}:{file}:{case}:{row.source_row}"


def _without_task(name: str) -> str:
    parts = name.split(":")
    return ":".join(parts[:4] + parts[5:]) if len(parts) == 6 else name


def match(rows: Iterable[Row], entries: Sequence[Entry]) -> tuple[dict[str, str], list[UnmatchedPrediction]]:
    """The text of each row that has exactly one, by uid, and the other entries: together as many as were given."""
    names = Names(rows)
    claims: dict[str, list[Entry]] = {}
    unmatched = []
    for entry in entries:
        if entry.fault is not None:
            unmatched.append(_unmatched(entry, entry.fault))
            continue
        uids = next((uids for uids in map(names.find, entry.names) if uids), [])
        if len(uids) == 1:
            claims.setdefault(uids[0], []).append(entry)
        else:
            unmatched.append(_unmatched(entry, "ambiguous" if uids else "not_in_split"))
    texts = {}
    for uid, claimants in claims.items():
        if len({entry.text for entry in claimants}) == 1:
            texts[uid] = claimants[0].text
            unmatched += [_unmatched(entry, "repeated") for entry in claimants[1:]]
        else:
            unmatched += [_unmatched(entry, "contradictory") for entry in claimants]
    return texts, sorted(unmatched, key=lambda entry: entry.place)


def _unmatched(entry: Entry, reason: str) -> UnmatchedPrediction:
    key, text = (
        value.encode("utf-8", "backslashreplace").decode("utf-8") for value in ("".join(entry.names[:1]), entry.text)
    )
    return UnmatchedPrediction(entry.place, key, reason, text)


def write_imported(
    *,
    source: Path,
    split: Path,
    system: str,
    content: str = "",
    seen: Path | None = None,
    out: Path,
    unmatched: Path,
) -> str:
    """Write the predictions of a split that a file holds, and its other entries.

    Args:
        source: file of predictions: .jsonl, .json or .csv.
        split: Parquet of rows.
        system: name of the system.
        content: what the plan calls the state of the file.
        seen: where to note what was read of it, for later plans.
        out: Parquet of predictions to write.
        unmatched: Parquet of all other entries to write.

    Raises:
        BadFile: the file cannot be read.
        Refused: it answers no row of the split.
    """
    rows = read_rows(split, Row)
    with nullcontext() if seen is None else reading(source, seen, content):
        entries = read_predictions(source)
    texts, others = match(rows, entries)
    reasons = Counter(entry.reason for entry in others)
    counts = f"{len(entries)} predictions given, {len(texts)} matched to {len(rows)} rows, {len(others)} unmatched"
    counts += "".join(f", {count} {reason}" for reason, count in sorted(reasons.items()))
    if not texts:
        raise Refused(
            f"{source}: {counts}; name rows by uid, or by ImageName and Question, and give one file with the "
            f"predictions of every evaluated split (a row here: {rows[0].uid if rows else 'none'})"
        )
    predictions = [Prediction(row.uid, system, texts[row.uid], "imported") for row in rows if row.uid in texts]
    write_rows(unmatched, others, UnmatchedPrediction)
    write_rows(out, predictions, Prediction)
    unanswered = [row.uid for row in rows if row.uid not in texts]
    if unanswered:
        counts += f"; {len(unanswered)} of {len(rows)} rows have no prediction and are scored as missing, the first: "
        counts += unanswered[0]
    return f"import: {counts}" + (f"; {unmatched} names the unmatched" if others else "")


if __name__ == "__main__":
    run_step(write_imported)
