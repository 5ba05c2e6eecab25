"""Training and feature extraction at MedGemma 1.5 4B's shape on one GPU, against the reference recipe.

A row has 256 image, 120 prompt and 24 answer tokens. The fast path reads stored features inside the timed loop; stock
TRL is PEFT's forward and the model's own kernels, in the same recipe and loop. Optimiser steps are included.
Prints rows/s, peak GiB (of tensors, and with what the allocator holds), TFLOP/s and the share of the limit (`LIMIT`).
Unsloth on the same checkpoint: `benchmarks.unsloth_gpu`.

    python -m benchmarks.train_gpu --work FOLDER --out FOLDER [--variants NAME …] [--curves exact fast fp8 plain]
"""

import argparse
import gc
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from trl import SFTConfig

from benchmarks.shapes import SIDE, write_images, write_medgemma
from workflow_scripts.cache.store import EntryStore
from workflow_scripts.core.config.recipes import Lora, Recipe
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import Image
from workflow_scripts.core.tables import write_rows
from workflow_scripts.core.training_rows import FeaturePlace
from workflow_scripts.features import extract
from workflow_scripts.features.towers import WORTH_COMPILING, speed_up_tower
from workflow_scripts.models import kernels, loading
from workflow_scripts.models.loading import Loaded, load
from workflow_scripts.models.runtime import compute_dtype
from workflow_scripts.models.vision_features import SHARD_FILE, FeatureStore
from workflow_scripts.train import tune
from workflow_scripts.train.rows import TrainingRow

TFLOP_A_ROW = 5.2  # frozen base: two products forward and two backward for each weight and token
LIMIT = 150.0  # rows/s at the 790 TFLOP/s of a plain bf16 product on an H200
IMAGE, PROMPT, ANSWER = 256, 120, 24


class Clock(transformers.TrainerCallback):
    """When the device ends each optimiser step; the processor may be ahead of it."""

    def __init__(self) -> None:
        self._events: list[torch.cuda.Event] = []

    def on_step_end(self, *_, **__):
        self._events.append(torch.cuda.Event(enable_timing=True))
        self._events[-1].record()

    @property
    def ends(self) -> list[float]:
        """Seconds since the end of the first step."""
        torch.cuda.synchronize()
        return [self._events[0].elapsed_time(event) / 1000 for event in self._events]


def random_ids(loaded: Loaded, text: int, generator: torch.Generator) -> list[int]:
    """An image's tokens amid `text` random ones, the first of which is the BOS where the family has one."""
    vocabulary = loaded.base.config.get_text_config().vocab_size
    ids = torch.randint(1100, vocabulary, (text,), generator=generator).tolist()
    if loaded.processor.tokenizer.bos_token_id is not None:
        ids[0] = loaded.processor.tokenizer.bos_token_id
    return [*ids[:4], *[loaded.family.image_token_id(loaded.processor)] * IMAGE, *ids[4:]]


def examples(loaded: Loaded, images: list[Image], count: int) -> list[TrainingRow]:
    """Rows of random tokens in the shape of the benchmark."""
    generator = torch.Generator().manual_seed(0)
    rows = []
    for number in range(count):
        ids = random_ids(loaded, PROMPT + ANSWER, generator)
        image = images[number % len(images)]
        rows.append(
            {
                "input_ids": ids,
                "labels": [-100] * (len(ids) - ANSWER) + ids[-ANSWER:],
                "image_hashes": [image.sha256],
                "image_paths": [image.path],
                "image_sizes": [(image.width, image.height)],
                "length": len(ids),
            }
        )
    return rows


def extract_features(record: Path, root: Path, images: list[Image], index: Path, workers: int) -> dict[str, float]:
    """Write the features of `images` with the product's code; images/s from PNG files, by the library and as it is."""
    loaded = load(record)
    rates = {}
    for name, repeats in (("library", 2), ("product", 8)):
        tower = name if name == "library" else speed_up_tower(loaded, WORTH_COMPILING, fp8=False)
        many = images * repeats
        extract.compute(loaded, images[:64], extract.prepared(loaded, images[:64], root, workers), 32)
        start = time.perf_counter()
        tensor = extract.compute(loaded, many, extract.prepared(loaded, many, root, workers), 32)[: len(images) * IMAGE]
        rates[name] = len(many) / (time.perf_counter() - start)
    hashes = [image.sha256 for image in images]
    tokens = [extract.tokens_of(loaded, image) for image in images]
    shard = extract.write_shard(EntryStore(index.parent / "store"), hashes, tensor, tokens, tower=tower)
    places = [FeaturePlace(sha256, f"store/{shard}/{SHARD_FILE}", row) for row, sha256 in enumerate(hashes)]
    write_rows(index, places, FeaturePlace)
    return rates


FAST = Recipe(
    lora=Lora(r=16, alpha=16, dropout=0.0),
    epochs=None,
    steps=14,
    batch=32,
    micro_batch=32,
    optimiser="adamw_torch_fused",
    save_every=10_000,
)
REFERENCE = FAST.model_copy(
    update={
        "lora": Lora(r=16, alpha=16, dropout=0.05, targets="all-linear"),
        "steps": 4,
        "batch": 16,
        "micro_batch": 1,
        "gradient_checkpointing": True,
    }
)


def of_batch(batch: int, *, fp8: bool = False) -> Recipe:
    """The fast recipe with other rows at once."""
    return FAST.model_copy(update={"batch": batch, "micro_batch": batch, "fp8": fp8})


VARIANTS = {
    "stored features, batch 32": FAST,
    "stored features, batch 40": of_batch(40),
    "stored features, batch 48": of_batch(48),
    "stored features, fp8, batch 32": of_batch(32, fp8=True),
    "stored features, fp8, batch 40": of_batch(40, fp8=True),
    "stored features, fp8, batch 48": of_batch(48, fp8=True),
    "stock TRL: images in the loop, frozen tower, batch 16": of_batch(16),
    "stock TRL on stored features, batch 32": FAST,
    "naive: batch 1 × 16, all-linear with the tower, gradient checkpointing, images in the loop": REFERENCE,
}
STOCK = "stock TRL"
CURVES = ("exact", "fast", "fp8", "plain")


def measure(name: str, recipe: Recipe, record: Path, root: Path, images: list[Image], index: Path, out: Path) -> dict:
    """Train a few steps; rows/s over the last ones, and peak memory."""
    if name.startswith(STOCK):
        tune.speed_up_training = lambda model, **_: "none"
    torch.cuda.reset_peak_memory_stats()
    loaded = load(record, quantisation=recipe.quantisation)
    rows = examples(loaded, images, recipe.batch * recipe.steps)
    features = None if recipe.tunes_tower or name.startswith(f"{STOCK}: images") else FeatureStore(index)
    trainer = tune.build_trainer(recipe, loaded, rows, [], root, features, out / "checkpoints", 14)
    clock = Clock()
    trainer.add_callback(clock)
    trainer.train()
    tune.speed_up_training = kernels.speed_up_training
    warm = 1 if recipe.tunes_tower else 6
    seconds = (clock.ends[-1] - clock.ends[warm - 1]) / (len(clock.ends) - warm)
    rate = recipe.batch / seconds
    result = {
        "variant": name,
        "rows_per_s": round(rate, 2),
        "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 1),
        "reserved_gib": round(torch.cuda.max_memory_reserved() / 2**30, 1),
        "tflops": round(rate * TFLOP_A_ROW),
        "share_of_limit": round(rate / LIMIT, 3),
        "loss": trainer.state.log_history[-2].get("loss"),
    }
    del trainer, loaded
    gc.collect()
    torch.cuda.empty_cache()
    return result


def in_float32(**options: Any) -> SFTConfig:
    """The product's arguments without bfloat16."""
    return SFTConfig(**options | {"bf16": False})


def curves(paths: list[str], record: Path, root: Path, images: list[Image], index: Path, out: Path) -> dict:
    """Largest relative gaps between the losses of the first path and of others over 200 steps, smoothed and not.

    fast: the product's own, in bfloat16; fp8: with the recipe's fp8; plain: TRL's own, that is PEFT's forward, the
    model's own kernels, and pixels through the frozen tower; exact: the same on stored features in float32 throughout.
    Answers repeat a few tokens, so that there is something to learn.
    """
    steps, smoothed = {}, {}
    for name in paths:
        loading.compute_dtype = (lambda device: torch.float32) if name == "exact" else compute_dtype
        tune.SFTConfig = in_float32 if name == "exact" else SFTConfig
        recipe = FAST.model_copy(update={"steps": 200, "batch": 16, "micro_batch": 16, "fp8": name == "fp8"})
        transformers.set_seed(0)
        loaded = load(record, quantisation=recipe.quantisation)
        rows = examples(loaded, images, recipe.batch * recipe.steps)
        for row in rows:
            ids = [2000 + (token % 40) for token in row["input_ids"][-ANSWER:]]
            row["input_ids"][-ANSWER:] = row["labels"][-ANSWER:] = ids
        torch.set_float32_matmul_precision("highest")  # ours sets another
        stock = name in ("plain", "exact")
        tune.speed_up_training = (lambda model, **_: "none") if stock else kernels.speed_up_training
        source = None if name == "plain" else FeatureStore(index)
        trainer = tune.build_trainer(recipe, loaded, rows, [], root, source, out / name, 14)
        trainer.train()
        steps[name] = np.array([float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry])
        smoothed[name] = np.convolve(steps[name], np.ones(10) / 10, "valid")
        print(name, json.dumps(steps[name].round(3).tolist()), flush=True)
        del trainer, loaded
        gc.collect()
        torch.cuda.empty_cache()
    tune.speed_up_training, tune.SFTConfig = kernels.speed_up_training, SFTConfig
    loading.compute_dtype = compute_dtype
    first = smoothed[paths[0]]
    gaps = {name: np.abs(curve / first - 1) for name, curve in smoothed.items() if name != paths[0]}
    shown = [0, 49, 99, 149, len(first) - 1]
    return {
        "curves": {name: [round(float(curve[at]), 3) for at in shown] for name, curve in smoothed.items()},
        "largest_gap": {name: round(float(gap.max()), 5) for name, gap in gaps.items()},
        "gap_at_the_end": {name: round(float(gap[-1]), 5) for name, gap in gaps.items()},
        "largest_gap_of_a_step": {
            name: round(float(np.abs(steps[name] / steps[paths[0]] - 1).max()), 5) for name in paths[1:]
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the model and images")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--variants", nargs="*", default=list(VARIANTS), choices=list(VARIANTS))
    parser.add_argument("--curves", nargs="*", default=[], choices=CURVES, help="compare losses with the first one's")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--workers", type=int, default=15)
    given = parser.parse_args()
    start = time.perf_counter()
    record = given.work / "medgemma.json"
    if not record.exists():
        record = write_medgemma(given.work)
    root = given.work / "images"
    names = write_images(root, given.images)
    images = [Image(name, sha256_of_file(root / name), SIDE, SIDE) for name in names]
    print(f"model and images written in {time.perf_counter() - start:.0f} s", flush=True)
    index = given.work / "features" / "index.parquet"
    rate = {} if index.exists() else extract_features(record, root, images, index, given.workers)
    print("features from PNG, images/s:", {name: round(value, 1) for name, value in rate.items()}, flush=True)
    results = []
    for name in given.variants:
        tune.speed_up_training = kernels.speed_up_training  # a variant that ran out of memory left another
        try:
            results.append(measure(name, VARIANTS[name], record, root, images, index, given.work))
        except torch.cuda.OutOfMemoryError as error:
            results.append({"variant": name, "failed": str(error)[:80]})
        print(json.dumps(results[-1]), f"at {time.perf_counter() - start:.0f} s", flush=True)
    if given.curves:
        results.append(curves(given.curves, record, root, images, index, given.work))
        print(json.dumps(results[-1]), f"at {time.perf_counter() - start:.0f} s", flush=True)
    (given.out / "train_gpu.json").write_text(json.dumps({"images_per_s": rate, "results": results}, indent=2))


if __name__ == "__main__":
    main()
