"""Preparing and converting a table in this process."""

import csv
import io
import json
from dataclasses import dataclass
from pathlib import Path

from tests.data.roots import Converted, converted, png
from tests.data.table_layouts import write_files
from workflow_scripts.core.manifest import read_manifest
from workflow_scripts.core.rows import Row
from workflow_scripts.data.prepare import Source, prepare

CLOSED = "closed vqa"


@dataclass
class Table:
    """What came of a table."""

    summary: str
    result: Converted
    root: Path

    def row(self, place: int = 0) -> Row:
        """A row by its place."""
        return self.result.rows[place]

    @property
    def faults(self) -> list[tuple[str, str]]:
        """Reason and detail of what is in quarantine."""
        return [(row.reason, row.detail) for row in self.result.quarantine]


def entry(**keys: object) -> Source:
    """A `table` entry."""
    return Source.model_validate({"source": "table", **keys})


def table_of(place: Path, source: Path, **keys: object) -> Table:
    """Prepare and convert the table at `source`, working in `place`."""
    spec = entry(**({"path": str(source)} if "repo" not in keys else {}), **keys)
    place.mkdir(parents=True, exist_ok=True)
    summary = prepare(
        spec=spec, source=source, out=place / "root", manifest=place / "m.json", name="mine", seen=place / "seen.json"
    )
    result = converted(place / "root", place)
    assert read_manifest(place / "m.json") == read_manifest(place / "manifest.json")
    assert len(result.rows) + len(result.quarantine) == int(summary.split()[1])
    return Table(summary, result, place / "root")


def lab(folder: Path, rows: list[dict], name: str = "questions.csv", images: int = 4) -> Path:
    """A lab's folder: a table, and images beside it."""
    files: dict[str, bytes | str] = {f"scans/{number}.png": png(number) for number in range(images)}
    if name.endswith(".csv"):
        stream = io.StringIO()
        writer = csv.DictWriter(stream, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
        files[name] = stream.getvalue()
    elif name.endswith(".jsonl"):
        files[name] = "\n".join(json.dumps(row) for row in rows)
    else:
        files[name] = json.dumps(rows)
    return write_files(folder, files)


def plain(number: int, **more: object) -> dict:
    """A row about an image of a lab's folder."""
    return {"image": f"scans/{number}.png", "question": "Is there a fracture?", "answer": "yes", **more}
