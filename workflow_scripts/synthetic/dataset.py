"""Step: draw the toy dataset, with FLARE's folders, zips, question files, spellings and a few of its defects.

The same seed and scale give the same bytes. `planted.json` in its root lists every planted defect by the names of
`data.conversion.reasons`.
"""

import io
import json
import shutil
import zipfile
from pathlib import Path

from PIL import Image
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.datasets import SyntheticDataset
from workflow_scripts.core.files import BadFile, write_json
from workflow_scripts.core.manifest import take_inventory, write_manifest
from workflow_scripts.synthetic.defects import CORRUPT, LAST_FILE, PLANTED, PLANTS, generator, spoil
from workflow_scripts.synthetic.subsets import SUBSETS, Drawn, ToySubset

FIRST_OF_VALIDATION = 5001
"""Images of the validation folders are numbered from here: a name never means two images."""

PLANTED_FILE = "planted.json"


def draw_dataset(spec: SyntheticDataset, out: Path) -> dict[str, int]:
    """Draw the dataset at `out`, replacing an earlier one.

    Returns:
        Rows by split folder.

    Raises:
        BadFile: `out` holds something that this step did not draw.
    """
    if out.exists() and any(out.iterdir()) and not (out / PLANTED_FILE).is_file():
        raise BadFile(f"{out} is not empty and was not drawn by this step; choose another folder or delete it")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    planted: list[dict] = []
    counts: dict[str, int] = {}
    for subset in tqdm(SUBSETS, desc="draw", unit="subset", mininterval=1):
        train = subset.draw(generator(spec.seed, subset.name, "training"), _scaled(subset.train, spec.scale), 1)
        validation = subset.draw(
            generator(spec.seed, subset.name, "validation"), _scaled(subset.validation, spec.scale), FIRST_OF_VALIDATION
        )
        if subset.name in PLANTS:
            PLANTS[subset.name](train, validation)
        for drawn, part in ((train, "training"), (validation, subset.validation_folder)):
            planted += _write_subset(partial, subset, drawn, part)
            counts[part] = counts.get(part, 0) + len(drawn.rows)
    planted += _write_unanswered(partial)
    write_json(partial / PLANTED_FILE, sorted(planted, key=lambda entry: (entry["file"], entry["row"])))
    shutil.rmtree(out, ignore_errors=True)
    partial.rename(out)
    return counts


def _scaled(count: int, scale: float) -> int:
    return max(4, round(count * scale))


def _write_subset(root: Path, subset: ToySubset, drawn: Drawn, part: str) -> list[dict]:
    """Write the images and question files of one subset; returns what is planted in them."""
    training = part == "training"
    subset_folder = root / part / subset.modality / subset.name
    subset_folder.mkdir(parents=True)
    folder = "imagesTr" if training else "imagesVal"
    images = {f"{folder}/{name}": _png(image) for name, image in drawn.images.items()}
    if subset.zipped[0 if training else 1]:
        _write_zip(subset_folder / f"{folder}.zip", images)
    else:
        (subset_folder / folder).mkdir()
        for path, data in images.items():
            (subset_folder / path).write_bytes(data)
    planted = []
    files: list[list[dict]] = [[] for _ in subset.shapes]
    for i, row in enumerate(drawn.rows):
        index = len(files) - 1 if row.get(LAST_FILE) else i % len(files)
        names = row["ImageName"]
        written = {key: value for key, value in row.items() if not key.startswith("_")}
        written["ImageName"] = f"{folder}/{names}" if isinstance(names, str) else [f"{folder}/{n}" for n in names]
        written["Split"] = "train" if training else "val"
        files[index].append(written)
        if PLANTED in row:
            file = f"{part}/{subset.modality}/{subset.name}/{_file_name(subset, training, index)}"
            planted.append({"kind": row[PLANTED], "file": file, "row": len(files[index]) - 1})
    for index, (key, rows) in enumerate(zip(subset.shapes, files, strict=True)):
        content = {"name": subset.name, key: rows} if key else rows
        (subset_folder / _file_name(subset, training, index)).write_text(
            json.dumps(content, indent=1, ensure_ascii=False), encoding="utf-8"
        )
    return planted


def _file_name(subset: ToySubset, training: bool, index: int) -> str:
    kind = "all" if subset.name == "chestreport" else "questions"
    ending = f"_{index + 1}" if index else ""
    answered = "_withGT" if subset.name == "density" and not training else ""
    return f"{subset.name}_{kind}_{'train' if training else 'val'}{ending}{answered}.json"


def _write_unanswered(root: Path) -> list[dict]:
    """The file without answers that organisers leave beside the one with: its rows are all superseded."""
    subset_folder = root / "validation-public" / "Mammography" / "density"
    rows = json.loads((subset_folder / "density_questions_val_withGT.json").read_text(encoding="utf-8"))
    for row in rows:
        del row["Answer"]
    file = subset_folder / "density_questions_val.json"
    file.write_text(json.dumps(rows, indent=1, ensure_ascii=False), encoding="utf-8")
    path = file.relative_to(root).as_posix()
    return [{"kind": "superseded", "file": path, "row": i} for i in range(len(rows))]


def _png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=1)
    how = image.info.get(CORRUPT)
    return spoil(stream.getvalue(), how) if how else stream.getvalue()


def _write_zip(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # a ZipInfo of fixed date: the same bytes every time


def write_dataset(*, spec: SyntheticDataset, out: Path, manifest: Path) -> str:
    """Draw the toy dataset and write its manifest.

    Args:
        spec: the dataset's entry in the configuration
        out: folder to draw to
        manifest: JSON to write
    """
    counts = draw_dataset(spec, out)
    write_manifest(manifest, take_inventory(out, json.loads(spec.source_spec())))
    return "dataset: " + ", ".join(f"{count} rows in {folder}" for folder, count in counts.items())


if __name__ == "__main__":
    run_step(write_dataset)
