"""Peak memory and time of one load that answers with a base and seven adapters in turn, against the largest alone.

The base has MedGemma 1.5 4B's shape; the adapters, of random weights, the ranks of FLARE 2026's leader (8, 32, 64) on
the seven projections of each language layer. Each measurement is the product's step, `infer.answer`, in a process of
its own: base and all adapters together, and each adapter alone. The answers must be the same; the peak of the first
may be 1.05 times that of the largest adapter alone.

    python -m benchmarks.router_gpu --work FOLDER --out FOLDER [--tiny]

`--tiny` takes an untrained model of two layers, on whatever device there is: on a CPU the peak is that of the process.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import time
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model

from benchmarks.infer_gpu import report_row
from benchmarks.shapes import write_images, write_medgemma
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.images import open_image
from workflow_scripts.core.rows import Image, Prediction, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.features.extract import extract
from workflow_scripts.infer.answer import GroupMember, answer
from workflow_scripts.models.loading import load
from workflow_scripts.models.record import write_record

RANKS = (8, 8, 32, 32, 32, 64, 64)
IMAGES = 32
NEW = 64
"""Most new tokens of an answer."""
WORDS = 60
"""Words of a question."""


def write_tiny(folder: Path) -> Path:
    """An untrained Gemma 3 of two layers; returns its record."""
    from workflow_scripts.synthetic.pretraining import build_model, build_processor

    processor = build_processor(vocabulary=600, seed=0)
    build_model(processor, width=64, layers=2, seed=0).save_pretrained(folder / "tiny")
    processor.save_pretrained(folder / "tiny")
    record = folder / "tiny.json"
    write_record(record, "tiny", "gemma3", folder / "tiny", "0" * 40)
    return record


def write_adapters(record: Path, folder: Path) -> list[Path]:
    """Random adapters of the ranks, far enough from zero that they change answers."""
    places = [folder / f"adapter{number}" for number in range(len(RANKS))]
    for number, (place, rank) in enumerate(zip(places, RANKS, strict=True)):
        if place.exists():
            continue
        torch.manual_seed(number)
        loaded = load(record)
        targets = loaded.family.lora_targets["language"]
        tuned = get_peft_model(loaded.model, LoraConfig(r=rank, lora_alpha=rank, target_modules=targets))
        for name, parameter in tuned.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        tuned.save_pretrained(place)
        del loaded, tuned
    return places


def write_split(root: Path, path: Path, count: int) -> None:
    """Rows of random words, each with one image."""
    rng = random.Random(0)
    images = []
    for file in sorted(root.glob("*.png")):
        opened = open_image(root, file.name)
        images.append(Image(file.name, sha256_of_file(file), *opened.size))
    rows = [
        report_row(
            number,
            " ".join("".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=4)) for _ in range(WORDS)),
            images[number % len(images)],
        )
        for number in range(count)
    ]
    write_rows(path, rows, Row)


def peak_gib() -> float:
    """Most memory of this process: allocated by torch on a GPU, resident on a CPU."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(work: Path, record: Path, members: list[GroupMember], batch: int, name: str) -> None:
    """Answer with the members, from an empty cache; write predictions, and peak and seconds beside them."""
    start = time.perf_counter()
    answer(
        split=work / "rows.parquet",
        model=record,
        root=work / "images",
        features=work / "features" / "index.parquet",
        members=members,
        max_new_tokens={"report": NEW},
        batch=batch,
        threads=8,
        store=work / f"store of {name}",
        out=work / f"{name}.parquet",
    )
    took = {"seconds": round(time.perf_counter() - start, 1), "peak_gib": peak_gib()}
    (work / f"{name}.json").write_text(json.dumps(took))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the model, adapters and images")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--tiny", action="store_true", help="a model of two layers")
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--members", help="measure in this process: JSON of the systems")
    parser.add_argument("--name", help="of the files of that measurement")
    given = parser.parse_args()
    work = given.work
    record = work / ("tiny.json" if given.tiny else "medgemma.json")
    if given.members:
        members = [GroupMember.model_validate(entry) for entry in json.loads(given.members)]
        measure(work, record, members, given.batch, given.name)
        return
    work.mkdir(parents=True, exist_ok=True)
    if not record.exists():
        write_tiny(work) if given.tiny else write_medgemma(work)
    if not (work / "images").exists():
        write_images(work / "images", IMAGES, 112 if given.tiny else 1024)
    adapters = write_adapters(record, work)
    write_split(work / "images", work / "rows.parquet", given.rows)
    index = work / "features" / "index.parquet"
    if not index.exists():
        extract(
            split=work / "rows.parquet", root=work / "images", model=record, index=index, batch=16, threads=8,
            store=work / "features" / "store",
        )  # fmt: skip
    systems = [{"system": "base"}] + [
        {"system": f"rank {rank}, {number}", "adapter": str(place)}
        for number, (rank, place) in enumerate(zip(RANKS, adapters, strict=True))
    ]
    groups = {"together": systems} | {f"alone {number}": [entry] for number, entry in enumerate(systems)}
    results: list[dict] = []
    for name, members in groups.items():
        command = [sys.executable, "-m", "benchmarks.router_gpu", "--work", work, "--out", given.out, "--name", name]
        command += ["--batch", given.batch, "--members", json.dumps(members), *(["--tiny"] if given.tiny else [])]
        subprocess.run([str(word) for word in command], check=True)
        systems_of = [member["system"] for member in members]
        results.append({"name": name, "systems": systems_of, **json.loads((work / f"{name}.json").read_text())})
        print(json.dumps(results[-1]), flush=True)
    together = {(row.uid, row.system): row.text for row in read_rows(work / "together.parquet", Prediction)}
    alone = {
        (row.uid, row.system): row.text
        for number in range(len(systems))
        for row in read_rows(work / f"alone {number}.parquet", Prediction)
    }
    texts = {system["system"]: [alone[str(row), system["system"]] for row in range(given.rows)] for system in systems}
    summary = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "rows": given.rows,
        "batch": given.batch,
        "peak_ratio": results[0]["peak_gib"] / results[-1]["peak_gib"],  # the last adapter is of the largest rank
        "seconds_ratio": results[0]["seconds"] / sum(result["seconds"] for result in results[1:]),
        "changed": sum(together[key] != text for key, text in alone.items()),
        "different_systems": len({tuple(of_system) for of_system in texts.values()}),
    }
    print(json.dumps(summary), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "router_gpu.json").write_text(json.dumps([*results, summary], indent=2))


if __name__ == "__main__":
    main()
