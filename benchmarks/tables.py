"""The source `table` beside FLARE's folders: the same 58,112 rows and 50,996 images through either, in turn.

    python -m benchmarks.tables [--scratch FOLDER] [--side 128] [--rounds 2]

draws the dataset of `benchmarks.data_scale` with images of SIDE × SIDE pixels, writes a CSV whose rows are its
questions and whose images are its files, and measures from files on disk to typed rows: `data.inventory` and
`data.convert` of the folders, `data.prepare` and `data.convert` of the table. Prints both, their ratio, and what a plan
that follows costs.
"""

import argparse
import csv
import json
import resource
import shutil
import tempfile
import time
from pathlib import Path

from benchmarks import data_scale
from benchmarks.data_scale import Cost, run
from workflow_scripts.cache.source_files import identity_of_source
from workflow_scripts.core.config.sources.table import TableDataset
from workflow_scripts.data.conversion.process_pool import cores

COLUMNS = ("task", "modality", "subset", "split", "image", "question", "answer")


def write_table(root: Path, table: Path) -> int:
    """A CSV with a row for each question of the folders at `root`, its images listed as JSON; returns the rows."""
    count = 0
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(COLUMNS)
        for file in sorted(root.glob("*/*/*/*.json")):
            folder, modality, subset = file.relative_to(root).parts[:3]
            for record in json.loads(file.read_text(encoding="utf-8")):
                names = record["ImageName"]
                paths = [
                    f"{folder}/{modality}/{subset}/{name}" for name in ([names] if isinstance(names, str) else names)
                ]
                answer = record["Answer"] if isinstance(record["Answer"], str) else json.dumps(record["Answer"])
                image = json.dumps(paths) if len(paths) > 1 else paths[0]
                writer.writerow([record["TaskType"], modality, subset, folder, image, record["Question"], answer])
                count += 1
    return count


def entry(root: Path) -> TableDataset:
    """The table's entry of a configuration."""
    columns = {name: {"column": name} for name in ("task", "modality", "subset", "split")}
    return TableDataset.model_validate({"path": str(root), "files": ["rows.csv"], **columns})


def convert(scratch: Path, root: Path, name: str) -> Cost:
    """`data.convert`, without what an earlier round stored."""
    shutil.rmtree(scratch / f"{name}.work", ignore_errors=True)
    tables = ("rows", "quarantine", "images", "conventions")
    return run(
        *("workflow_scripts.data.convert", "--root", root, "--manifest", scratch / f"{name}.json", "--policies", "{}"),
        *("--workdir", scratch / f"{name}.work", "--jobs", cores()),
        *(flag for table in tables for flag in (f"--{table}", scratch / f"{name}.{table}.parquet")),
    )


def processor_seconds() -> float:
    """Processor time of all steps so far, their processes included: what other work on the machine leaves alone."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def through_folders(scratch: Path, root: Path) -> list[Cost]:
    """Inventory and conversion of the folders."""
    seen = scratch / "folders.seen.json"
    seen.unlink(missing_ok=True)
    flags = ("--root", root, "--manifest", scratch / "folders.json", "--seen", seen)
    inventory = run("workflow_scripts.data.inventory", "--spec", '{"source":"local"}', *flags)
    return [inventory, convert(scratch, root, "folders")]


def through_table(scratch: Path, root: Path) -> list[Cost]:
    """Preparation and conversion of the table."""
    seen = scratch / "table.seen.json"
    seen.unlink(missing_ok=True)
    shutil.rmtree(scratch / "prepared", ignore_errors=True)
    prepared = run(
        *("workflow_scripts.data.prepare", "--spec", entry(root).source_spec(), "--source", root, "--name", "scale"),
        *("--out", scratch / "prepared", "--manifest", scratch / "table.json", "--seen", seen, "--jobs", cores()),
    )
    return [prepared, convert(scratch, scratch / "prepared", "table")]


def main() -> None:
    """Draw, measure in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, help="folder to work in; default: a temporary one, deleted afterwards")
    parser.add_argument("--side", type=int, default=128, help="pixels of an image's side")
    parser.add_argument("--rounds", type=int, default=2)
    a = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="tables_", dir=a.scratch))
    data_scale.SIDE = a.side
    try:
        root = scratch / "folders"
        start = time.perf_counter()
        data_scale.draw(root)
        rows = write_table(root, root / "rows.csv")
        print(f"{rows} rows, images of {a.side} × {a.side}: drawn in {time.perf_counter() - start:.1f} s", flush=True)
        through_folders(scratch, root)  # the disk's cache is warm for both
        least = {"folders": (1e9, 1e9), "table": (1e9, 1e9)}
        for number in range(a.rounds):
            for name, way in (("folders", through_folders), ("table", through_table)):
                before = processor_seconds()
                first, second = way(scratch, root)
                cpu, seconds = processor_seconds() - before, first.seconds + second.seconds
                least[name] = min(least[name][0], seconds), min(least[name][1], cpu)
                wall = f"{seconds:6.1f} s = {first.seconds:5.1f} + {second.seconds:5.1f}"
                memory = max(first.mebibytes, second.mebibytes)
                print(f"round {number + 1}, {name:8} {wall}, processor {cpu:.1f} s, {memory:5.0f} MiB", flush=True)
                print(f"  {second.summary}", flush=True)
        wall, cpu = (least["table"][k] / least["folders"][k] for k in (0, 1))
        print(
            f"table / folders: {wall:.3f} of wall time, {cpu:.3f} of processor time (least of {a.rounds} rounds each)"
        )
        start = time.perf_counter()
        identity_of_source(entry(root), root, scratch / "table.seen.json")
        print(f"the state of the table in a plan: {time.perf_counter() - start:.2f} s")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
