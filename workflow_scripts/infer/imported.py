"""Step: take predictions that another project made as those of a system.

A prediction names its row in one of three ways, and all are exact:

1. by our uid;
2. by FLARE26-MedGemma's uid, `split:data set:file:case:task:row`: the file's name without its ending, the stem of the
   row's first picture as that project writes it, and the row's place in the file, from 0;
3. by the challenge's key `str(ImageName)||Question`, or by these two fields.

Each entry of the file is the prediction of one row, or stands in the table of unmatched ones with a reason:
`unreadable`, `no_key`, `no_prediction`, `bad_text` (half a surrogate pair), `not_in_split`, `ambiguous` (several rows
bear the name), `repeated` (the row's same answer again), `contradictory` (the row has unlike answers: none is taken).
A row of the split without a prediction stays without one, and is scored as missing.
"""

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.tables import PREDICTIONS, ROWS, UNMATCHED, read_table, write_table
from workflow_scripts.infer.prediction_files import Given, challenge_key, read_predictions

_SPLITS = {
    "training": "train",
    "validation-public": "validation",
    "validation-hidden": "validation_hidden",
    "testing": "testing",
}
"""FLARE26-MedGemma's names of the split folders."""


class Names:
    """The rows of a split by each of their names."""

    def __init__(self, rows: Iterable[dict]) -> None:
        self._uids: set[str] = set()
        self._others: dict[str, list[str]] = {}
        for row in rows:
            self._uids.add(row["uid"])
            for name in (flare26_uid(row), challenge_key(json.loads(row["image_name"]), row["question"])):
                self._others.setdefault(name, []).append(row["uid"])

    def find(self, name: str) -> list[str]:
        """Uids of the rows that bear `name`."""
        if name in self._uids:
            return [name]
        return self._others.get(name) or self._others.get(_without_task(name), [])


def flare26_uid(row: dict) -> str:
    """FLARE26-MedGemma's uid of a row without its task, which the other parts imply."""
    names = json.loads(row["image_name"])
    first = names if isinstance(names, str) else names[0]
    case = re.sub(r"[^A-Za-z0-9_.-]+", "_", PurePosixPath(first.strip()).stem).strip("_")
    file = PurePosixPath(row["source_file"]).stem
    return f"{_SPLITS[row['folder']]}:{row['dataset']}:{file}:{case}:{row['source_row']}"


def _without_task(name: str) -> str:
    parts = name.split(":")
    return ":".join(parts[:4] + parts[5:]) if len(parts) == 6 else name


def match(rows: list[dict], given: list[Given]) -> tuple[dict[str, str], list[dict]]:
    """The text of each row that has exactly one, by uid, and UNMATCHED rows: together as many as `given`."""
    names = Names(rows)
    claimed: dict[str, list[Given]] = {}
    unmatched = []
    for entry in given:
        if entry.fault is not None:
            unmatched.append(_unmatched(entry, entry.fault))
            continue
        found = next((uids for uids in map(names.find, entry.names) if uids), [])
        if len(found) == 1:
            claimed.setdefault(found[0], []).append(entry)
        else:
            unmatched.append(_unmatched(entry, "ambiguous" if found else "not_in_split"))
    texts = {}
    for uid, entries in claimed.items():
        if len({entry.text for entry in entries}) == 1:
            texts[uid] = entries[0].text
            unmatched += [_unmatched(entry, "repeated") for entry in entries[1:]]
        else:
            unmatched += [_unmatched(entry, "contradictory") for entry in entries]
    return texts, sorted(unmatched, key=lambda row: row["place"])


def _unmatched(entry: Given, reason: str) -> dict:
    key, text = (
        value.encode("utf-8", "backslashreplace").decode("utf-8") for value in ("".join(entry.names[:1]), entry.text)
    )
    return {"place": entry.place, "key": key, "reason": reason, "text": text}


def import_predictions(source: Path, split: Path, system: str, out: Path, unmatched: Path) -> str:
    """Write the predictions of `split` in `source`, and its other entries; returns what became of them in a line.

    Raises:
        BadFile: the file cannot be read.
        Refused: it answers no row of the split.
    """
    rows = read_table(split, ROWS).to_pylist()
    given = read_predictions(source)
    texts, rest = match(rows, given)
    reasons = Counter(row["reason"] for row in rest)
    said = f"{len(given)} predictions given, {len(texts)} matched to {len(rows)} rows, {len(rest)} unmatched"
    said += "".join(f", {count} {reason}" for reason, count in sorted(reasons.items()))
    if not texts:
        raise Refused(
            f"{source}: {said}; name rows by uid, or by ImageName and Question, and give one file with the predictions "
            f"of every evaluated split (a row here: {rows[0]['uid'] if rows else 'none'})"
        )
    predictions = [
        {"uid": row["uid"], "system": system, "text": texts[row["uid"]], "finish": "imported"}
        for row in rows
        if row["uid"] in texts
    ]
    write_table(unmatched, rest, UNMATCHED)
    write_table(out, predictions, PREDICTIONS)
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="file of predictions: .jsonl, .json or .csv")
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--system", required=True, help="name of the system")
    parser.add_argument("--out", type=Path, required=True, help="Parquet of predictions to write")
    parser.add_argument("--unmatched", type=Path, required=True, help="Parquet of all other entries to write")
    given = parser.parse_args()
    said = import_predictions(given.source, given.split, given.system, given.out, given.unmatched)
    print(f"import: {said}")


if __name__ == "__main__":
    run_step(main)
