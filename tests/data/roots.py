"""Small FLARE-shaped datasets for tests, and their conversion in this process."""

import io
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from workflow_scripts.core.config.sources.entry import Policies
from workflow_scripts.core.manifest import take_inventory, write_manifest
from workflow_scripts.core.rows import Convention, ImageFacts, QuarantinedRow, Row
from workflow_scripts.core.tables import rows_of, write_rows
from workflow_scripts.data.convert import Counts, convert_dataset

OPTIONS = "Which diagnosis fits this image? Options: A) Nevus B) Melanoma C) Scar"


def png(seed: int, width: int = 16, height: int = 12) -> bytes:
    """A PNG of its own for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def pngs(count: int) -> dict[str, bytes]:
    """`imagesTr/0.png` and so on."""
    return {f"imagesTr/{i}.png": png(i) for i in range(count)}


def row(name: object, question: object = OPTIONS, answer: object = "A", task: object = "Classification") -> dict:
    """A record in FLARE's fields."""
    return {"TaskType": task, "Modality": "any", "ImageName": name, "Question": question, "Answer": answer}


def write_subset(
    root: Path,
    rows: object,
    images: dict[str, bytes],
    *,
    name: str = "ds",
    folder: str = "training",
    modality: str = "Xray",
    file: str | None = None,
    zipped: bool = False,
) -> Path:
    """Write question file and images of one subset; returns the question file."""
    subset_folder = root / folder / modality / name
    subset_folder.mkdir(parents=True, exist_ok=True)
    if zipped:
        with zipfile.ZipFile(subset_folder / "imagesTr.zip", "w") as archive:
            for path, data in images.items():
                archive.writestr(path, data)
    else:
        for path, data in images.items():
            (subset_folder / path).parent.mkdir(parents=True, exist_ok=True)
            (subset_folder / path).write_bytes(data)
    target = subset_folder / (file or f"{name}_questions_train.json")
    target.write_text(rows if isinstance(rows, str) else json.dumps(rows), encoding="utf-8")
    return target


@dataclass
class Converted:
    """What came of a dataset."""

    rows: list[Row]
    quarantine: list[QuarantinedRow]
    images: list[ImageFacts]
    conventions: list[Convention]
    counts: Counts

    @property
    def reasons(self) -> dict[tuple[str, int | None], str]:
        """Reason by file name and row."""
        return {(entry.source_file.rpartition("/")[2], entry.source_row): entry.reason for entry in self.quarantine}


def converted(root: Path, place: Path, **policies: object) -> Converted:
    """Take stock of the dataset at `root` and convert it, in one process, working in `place`."""
    write_manifest(place / "manifest.json", take_inventory(root, {"source": "local"}))
    result = convert_dataset(root, place / "manifest.json", Policies(**policies), place / "work", jobs=1)
    rows, quarantine = rows_of(result.rows, Row), rows_of(result.quarantine, QuarantinedRow)
    return Converted(rows, quarantine, rows_of(result.images, ImageFacts), result.conventions, result.counts)


def write_converted(result: Converted, place: Path) -> None:
    """Write the tables of a conversion as the step does: rows, quarantine, images and conventions."""
    write_rows(place / "rows.parquet", result.rows, Row)
    write_rows(place / "quarantine.parquet", result.quarantine, QuarantinedRow)
    write_rows(place / "images.parquet", result.images, ImageFacts)
    write_rows(place / "conventions.parquet", result.conventions, Convention)


def convert_rows(place: Path, rows: list[object], count: int = 4, **policies: object) -> Converted:
    """Convert a dataset of one subset with the images `imagesTr/0.png` … and these rows."""
    root = place / "root"
    write_subset(root, rows, pngs(count))
    return converted(root, place, **policies)
