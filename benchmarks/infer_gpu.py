"""Inference at MedGemma 1.5 4B's shape on one GPU, through the project's engine, against the reference.

A prompt has 256 image and 120 text tokens; stored features are read inside the timed loop. The reference takes one
row at a time, NF4, its image prepared in the loop.

    python -m benchmarks.infer_gpu --work FOLDER --out FOLDER
"""

import argparse
import gc
import json
import time
from pathlib import Path

import torch

from benchmarks.shapes import VOCABULARY, write_images, write_medgemma
from benchmarks.train_gpu import IMAGE, PROMPT, extract_features
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.engines.exchange import Picture, Request
from workflow_scripts.engines.transformers_engine import TransformersEngine, vision_source
from workflow_scripts.models.kernels import fuse_layers
from workflow_scripts.models.loading import load


def prompts(loaded, images: list[dict], count: int, new: int) -> list[tuple[Request, list[int]]]:
    """`count` requests of random tokens, as the engine's `batches` gives them."""
    tokenizer = loaded.processor.tokenizer
    generator = torch.Generator().manual_seed(0)
    found = []
    for number in range(count):
        text = torch.randint(1100, VOCABULARY, (PROMPT - 1,), generator=generator).tolist()
        ids = [tokenizer.bos_token_id, *text[:3], *[tokenizer.image_token_id] * IMAGE, *text[3:]]
        image = images[number % len(images)]
        request = Request(str(number), [], (Picture(image["sha256"], image["path"]),), new)
        found.append((request, ids))
    return found


def rate(engine: TransformersEngine, batch: list[tuple[Request, list[int]]], repeats: int) -> float:
    """Rows/s of answering `batch`, after one answer to warm up."""
    engine.generate(batch[:2])
    torch.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(repeats):
        engine.generate(batch)
    torch.cuda.synchronize()
    return repeats * len(batch) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and images")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--batches", type=int, nargs="*", default=[256, 512])
    given = parser.parse_args()
    record = given.work / "medgemma.json"
    if not record.exists():
        record = write_medgemma(given.work)
    tree, index = given.work / "images", given.work / "features" / "index.parquet"
    names = write_images(tree, 128)
    images = [{"path": name, "sha256": sha256_of_file(tree / name)} for name in names]
    if not index.exists():
        extract_features(record, tree, images, index, 15)
    results = []

    def note(**result) -> None:
        results.append(result)
        print(json.dumps(result), flush=True)

    loaded = load(record)
    engine = TransformersEngine(loaded, vision_source(loaded, tree, index))
    for layers in ("own", "fused"):
        if layers == "fused":
            print(fuse_layers(loaded.base))
        for size in given.batches:
            for new in (64, 8):
                torch.cuda.reset_peak_memory_stats()
                speed = rate(engine, prompts(loaded, images, size, new), 1 if new == 64 else 3)
                gib = torch.cuda.max_memory_allocated() >> 30
                note(layers=layers, batch=size, new=new, rows_per_s=round(speed, 1), gib=gib)
    del engine, loaded
    gc.collect()
    torch.cuda.empty_cache()
    loaded = load(record, quantisation="nf4")
    engine = TransformersEngine(loaded, vision_source(loaded, tree, None))
    requests = prompts(loaded, images, 4, 64)
    engine.generate(requests[:1])
    start = time.perf_counter()
    for request in requests:
        engine.generate([request])
    note(reference=True, batch=1, new=64, rows_per_s=round(4 / (time.perf_counter() - start), 3))
    (given.out / "infer_gpu.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
