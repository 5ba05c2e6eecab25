"""The data stage at FLARE's size: 58,112 rows over 50,996 images of 64 × 64 pixels in all 19 subsets.

    python -m benchmarks.data_scale [--scratch FOLDER]

draws the dataset in seconds and prints, for each variant, the wall time and the peak memory of `data.convert` and
`data.audit`, beside the floor measured in the same run: reading, hashing and decoding every image and nothing else.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from workflow_scripts.core.files import sha256_of
from workflow_scripts.core.manifest import take_inventory, write_manifest
from workflow_scripts.data.conversion.process_pool import cores

ROWS, IMAGES, SIDE = 58_112, 50_996, 64


@dataclass(frozen=True)
class Shape:
    """One subset: rows, images, images a row, and the share of its rows that is in validation-public."""

    modality: str
    name: str
    task: str
    rows: int
    images: int
    each: int = 1
    validation: float = 0.0


_SHAPES = [
    Shape("Xray", "IU_XRay", "Report_Generation", 8345, 5060, 2, 0.23),
    Shape("Xray", "chestdr", "Multi-label Classification", 4850, 4850, 1, 0.2),
    Shape("Xray", "periapical", "multi-label classification", 4600, 4600),
    Shape("Xray", "boneresorption", "regression", 1000, 1000),
    Shape("Mammography", "CMMD", "classification", 4550, 5200, 2, 0.2),
    Shape("Retinography", "retino", "Classification", 1400, 1400, 1, 0.2),
    Shape("Retinography", "fundus", "Classification", 1500, 1500),
    Shape("Ultrasound", "BUS-UCLM", "classification", 680, 680, 1, 0.24),
    Shape("Ultrasound", "BUS-UCLM-det", "Detection", 225, 225, 1, 0.2),
    Shape("Ultrasound", "BUSI", "classification", 780, 780, 1, 0.2),
    Shape("Ultrasound", "BUSI-det", "Detection", 650, 650, 1, 0.2),
    Shape("Ultrasound", "iugc", "detection", 5000, 3000),
    Shape("Clinical", "neojaundice", "classification", 745, 2235, 3, 0.2),
    Shape("Microscopy", "neurips22cell", "Cell Counting", 1000, 1000, 1, 0.1),
    Shape("Microscopy", "chromosome", "instance_detection", 1800, 1800),
    Shape("Microscopy", "bone_marrow", "Classification", 1100, 1100),
    Shape("Endoscopy", "endo", "classification", 80, 240, 3, 0.2),
]


def shapes() -> list[Shape]:
    """All 19; bcn20000 and dental take what is left of the rows and the images."""
    rows, images = ROWS - sum(s.rows for s in _SHAPES), IMAGES - sum(s.images for s in _SHAPES)
    bcn = Shape("Dermatology", "bcn20000", "classification", rows * 2 // 5, rows * 2 // 5, 1, 0.1)
    dental = Shape("Xray", "dental", "Classification", rows - bcn.rows, images - bcn.images)
    return [*_SHAPES, bcn, dental]


def image(rng: np.random.Generator) -> bytes:
    """A PNG of coarse shapes with gentle noise, as compressible as real ones of this size, and no two alike."""
    coarse = Image.fromarray(rng.integers(0, 240, (8, 8, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC)).astype(np.int16)
    pixels = np.clip(smooth + rng.integers(0, 12, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()


def question(shape: Shape, i: int, images: int, rng: random.Random) -> tuple[str, object]:
    """A question in FLARE's style and an answer to it."""
    task = shape.task.lower()
    number = f" (question {i * shape.each // images})"  # an image that is asked twice is asked otherwise

    def box() -> tuple[int, int, int, int]:
        x, y = rng.randrange(0, 40), rng.randrange(0, 40)
        return x, y, x + rng.randrange(4, 24), y + rng.randrange(4, 24)

    if "multi" in task:
        mark = ";" if shape.name == "periapical" else ","
        labels = ["Caries", "Endodontic Treatment, Restorative Treatment, and Complications", "Crown", "Lesion"]
        labels = labels if mark == ";" else ["Atelectasis", "Cardiomegaly", "Effusion", "Nodule", "Pneumothorax"]
        chosen = [label for label in labels if rng.random() < 0.4]
        return f"Which findings are present?{number} Choose from: {'; '.join(labels)}.", f"{mark} ".join(chosen)
    if task == "detection":
        return f"Locate the mass.{number} Return [x_min, y_min, x_max, y_max].", [list(box())]
    if task == "instance_detection":
        by_class: dict[str, list] = {}
        for k in range(46):
            x1, y1, x2, y2 = box()
            by_class.setdefault(str(k % 22 + 1), []).append([x1, y1, x2 - x1, y2 - y1])
        return f"Locate all chromosomes.{number} Return boxes as [x, y, width, height] by class.", json.dumps(by_class)
    if "counting" in task:
        return f"What is the cell count?{number}", int(rng.lognormvariate(4, 1.5))
    if task == "regression":
        return f"Estimate the bone resorption in percent.{number}", f"{rng.uniform(5, 70):.2f}%"
    if task == "report_generation":
        return f"Write the findings.{number}", rng.choice(["No acute bony abnormality.", "Heart size is normal."])
    options = ["Nevus", "Melanoma", "Keratosis", "Carcinoma", "Angioma"]
    listed = " ".join(f"{'ABCDE'[k]}) {option}" for k, option in enumerate(options))
    return f"Which diagnosis fits?{number} Options: {listed}", rng.choice("ABCDE")


def draw(root: Path, missing: float = 0.0, zipped: bool = False) -> None:
    """Write the whole dataset; `missing` is the share of images that rows name and nobody wrote."""
    with ProcessPoolExecutor(cores()) as pool:
        for done in [pool.submit(draw_subset, root, shape, missing, zipped) for shape in shapes()]:
            done.result()


def draw_subset(root: Path, shape: Shape, missing: float, zipped: bool) -> None:
    """Write one subset, its validation rows into the other split folder."""
    rng, pixels = random.Random(shape.name), np.random.default_rng(list(shape.name.encode()))
    of_validation = round(shape.rows * shape.validation)
    images_of_validation = round(shape.images * shape.validation)
    first_row = first_image = 0
    for folder, kind, rows, images in (
        ("training", "Tr", shape.rows - of_validation, shape.images - images_of_validation),
        ("validation-public", "Val", of_validation, images_of_validation),
    ):
        if not rows:
            continue
        subset_folder = root / folder / shape.modality / shape.name
        subset_folder.mkdir(parents=True)
        names = [f"images{kind}/{shape.name}_{first_image + i:06d}.png" for i in range(images)]
        records = []
        for i in range(rows):
            text, answer = question(shape, i, images, rng)
            chosen = [names[(i * shape.each + j) % images] for j in range(shape.each)]
            records.append(
                {
                    "TaskType": shape.task,
                    "Modality": shape.modality,
                    "ImageName": chosen[0] if shape.each == 1 else chosen,
                    "Question": text,
                    "Answer": answer,
                    "Split": kind.lower(),
                }
            )
        ending = "train" if kind == "Tr" else "val"
        (subset_folder / f"{shape.name}_questions_{ending}.json").write_text(json.dumps(records, indent=1))
        written = [name for name in names if rng.random() >= missing]
        content = ((name, image(pixels)) for name in written)
        if zipped:
            with zipfile.ZipFile(subset_folder / f"images{kind}.zip", "w", zipfile.ZIP_STORED) as archive:
                for name, data in content:
                    archive.writestr(name, data)
        else:
            (subset_folder / f"images{kind}").mkdir()
            for name, data in content:
                (subset_folder / name).write_bytes(data)
        first_row, first_image = first_row + rows, first_image + images


def _floor(files: list[str]) -> None:
    for file in files:
        data = Path(file).read_bytes()
        sha256_of(data)
        Image.open(io.BytesIO(data)).convert("RGB")


def floor(root: Path, processes: int) -> float:
    """Seconds to read, hash and decode every image of a dataset in folders."""
    files = [entry.path for folder in root.glob("*/*/*/images*") for entry in os.scandir(folder)]
    start = time.perf_counter()
    if processes == 1:
        _floor(files)
    else:
        with ProcessPoolExecutor(processes) as pool:
            list(pool.map(_floor, [files[i::processes] for i in range(processes)]))
    return time.perf_counter() - start


@dataclass(frozen=True)
class Cost:
    """Wall seconds and the peak of resident memory, summed over a process and its children, in MiB."""

    seconds: float
    mebibytes: float
    summary: str  # what the step printed


def run(*arguments: object) -> Cost:
    """Run a step and measure it."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    parent, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        with contextlib.suppress(psutil.NoSuchProcess):  # a child may end between being listed and being measured
            peak = max(peak, sum(p.memory_info().rss for p in [parent, *parent.children(recursive=True)]))
        time.sleep(0.2)
    summary = process.stdout.read().strip() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{arguments[0]} ended with exit code {process.returncode}: {summary}")
    return Cost(time.perf_counter() - start, peak / 2**20, summary)


def measure(scratch: Path, root: Path, work: str) -> list[tuple[str, Cost]]:
    """Inventory, conversion and audit of `root`; `work` names the work folder, shared by reruns."""
    names = ("json", "rows.parquet", "quarantine.parquet", "images.parquet", "conventions.parquet")
    manifest, rows, quarantine, images, conventions = (scratch / f"{work}.{name}" for name in names)
    start = time.perf_counter()
    write_manifest(manifest, take_inventory(root, {"source": "local"}))
    inventory = Cost(time.perf_counter() - start, 0, "")
    convert = run(
        "workflow_scripts.data.convert", "--root", root, "--manifest", manifest, "--rows", rows,
        "--quarantine", quarantine, "--images", images, "--conventions", conventions,
        "--workdir", scratch / f"{work}.work", "--policies", "{}", "--jobs", cores(),
    )  # fmt: skip
    audit = run(
        "workflow_scripts.data.audit", "--rows", rows, "--quarantine", quarantine, "--images", images,
        "--conventions", conventions, "--root", root, "--findings", scratch / f"{work}.findings.parquet",
        "--summary", scratch / f"{work}.summary.parquet",
        "--balance", scratch / f"{work}.balance.parquet", "--page", scratch / f"{work}.html",
    )  # fmt: skip
    return [("inventory", inventory), ("convert", convert), ("audit", audit)]


def main() -> None:
    """Draw, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, help="folder to work in; default: a temporary one, deleted afterwards")
    parser.add_argument("--variants", nargs="+", default=["folders", "missing1", "missing30", "zips"])
    a = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="data_scale_", dir=a.scratch))
    kinds = {"folders": {}, "missing1": {"missing": 0.01}, "missing30": {"missing": 0.3}, "zips": {"zipped": True}}
    try:
        base = 0.0
        for variant in a.variants:
            root = scratch / variant
            start = time.perf_counter()
            draw(root, **kinds[variant])
            print(f"{variant}: drawn in {time.perf_counter() - start:.1f} s", flush=True)
            measured = measure(scratch, root, variant)
            total = sum(cost.seconds for name, cost in measured if name != "inventory")
            base = base or total
            for name, cost in measured:
                print(f"  {name:9} {cost.seconds:6.1f} s  {cost.mebibytes:6.0f} MiB  {cost.summary}", flush=True)
            print(f"  convert + audit {total:.1f} s, {total / base:.2f} times {a.variants[0]}", flush=True)
            if variant == "folders":
                print(f"  floor (read, hash, decode): 1 process {floor(root, 1):.1f} s, 2 {floor(root, 2):.1f} s")
                changed = root / "training" / "Endoscopy" / "endo" / "endo_questions_train.json"
                changed.write_text(changed.read_text().replace("Nevus", "Naevus"))
                for name, cost in measure(scratch, root, variant)[1:]:
                    print(f"  one JSON changed: {name} {cost.seconds:.1f} s  {cost.summary}", flush=True)
            shutil.rmtree(root)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
