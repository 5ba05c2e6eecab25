"""Vision features of MedGemma 1.5 4B's tower on one GPU: images/s from files, and of the tower alone.

Random weights, and a language model of one layer beside the tower, which features do not pass. Files are written first:
blurred colours with noise, so that they compress like photographs; `grey` is the same in grey, as radiographs are. Each
row reads so many different files over and over through the product's own functions, checks and preparation included.
"prepared" is what the processes prepare while the GPU has nothing to do. Errors are those of pooled features against
the library's tower in float32: the norm of the difference, the largest difference by the largest feature, and the least
cosine of a token.

    python -m benchmarks.features_gpu --work FOLDER --out FOLDER
"""

import argparse
import gc
import json
import time
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import PIL.Image
import torch
from tqdm import tqdm
from transformers import Gemma3ForConditionalGeneration

from benchmarks.shapes import medgemma_config, medgemma_processor
from workflow_scripts.core.files import sha256_of_file
from workflow_scripts.core.rows import Image
from workflow_scripts.features.extract import compute, prepared
from workflow_scripts.features.towers import speed_up_tower
from workflow_scripts.models.families.registry import load_family
from workflow_scripts.models.loading import Loaded
from workflow_scripts.models.threads import use_threads
from workflow_scripts.synthetic.pretraining import build_processor

ROWS = [f"{kind}-{side}" for kind in ("png", "jpeg", "grey") for side in (1024, 512, 2048)]
ENGINES = ("ours", "ours fp8", "library", "compiled")
SIDE = 896


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for images")
    parser.add_argument("--out", type=Path, required=True, help="folder for results")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS, help="kinds and sides of files")
    parser.add_argument(
        "--engines", nargs="+", choices=ENGINES, default=ENGINES, help="towers; all but ours read one row"
    )
    parser.add_argument("--files", type=int, default=60, help="different files of each kind and size")
    parser.add_argument("--images", type=int, default=660, help="images of each row")
    parser.add_argument("--batch", type=int, default=33, help="images at once")
    parser.add_argument("--workers", type=int, default=15, help="processes that prepare images")
    given = parser.parse_args()
    use_threads(given.workers + 1)
    start = time.perf_counter()
    sets = write_sets(given.work, given.rows, given.files, given.workers)
    results: list[dict] = []

    def note(**result: object) -> None:
        results.append(result)
        print(json.dumps(result), f"at {time.perf_counter() - start:.0f} s", flush=True)

    names = ("torch", "triton", "transformers", "pillow")
    note(device=torch.cuda.get_device_name(), versions={name: version(name) for name in names})
    wanted = reference()
    for engine in given.engines:
        loaded = random_model()
        tower = put(engine, loaded)
        torch.cuda.reset_peak_memory_stats()
        per_s = tower_alone(loaded, given.batch)
        gib = torch.cuda.max_memory_allocated() / 2**30
        note(engine=engine, tower=tower, alone=round(per_s, 1), peak_gib=round(gib, 1), **errors(loaded, wanted))
        for name, images in list(sets.items())[: None if engine == "ours" else 1]:
            many = (images * (given.images // len(images) + 1))[: given.images]
            ready = prepare_alone(loaded, many, given.work, given.workers)
            rate = from_files(loaded, many, given.work, given.workers, given.batch)
            note(engine=engine, files=name, images_per_s=round(rate, 1), prepared=round(ready, 1))
        del loaded
        gc.collect()
        torch.cuda.empty_cache()
        torch.compiler.reset()
    (given.out / "features_gpu.json").write_text(json.dumps(results, indent=2))


def write_sets(folder: Path, rows: list[str], files: int, workers: int) -> dict[str, list[Image]]:
    """Write the files of each row, KIND-SIDE; the images of each."""
    folder.mkdir(parents=True, exist_ok=True)
    todo = [(folder, row, number) for row in rows for number in range(files)]
    with get_context("spawn").Pool(workers) as pool:
        written = pool.map(_write, todo, chunksize=1)
    sets: dict[str, list[Image]] = {}
    for (_, row, _), image in zip(todo, written, strict=True):
        sets.setdefault(row, []).append(image)
    return sets


def _write(what: tuple[Path, str, int]) -> Image:
    folder, row, number = what
    kind, side = row.split("-")[0], int(row.split("-")[1])
    rng = np.random.default_rng(number)
    coarse = PIL.Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).resize((side, side), 3)
    pixels = np.asarray(coarse).astype(np.int16) + rng.integers(-4, 5, (side, side, 1))
    image = PIL.Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    path = folder / f"{kind}-{side}-{number}.{'jpg' if kind == 'jpeg' else 'png'}"
    image = image.convert("L") if kind == "grey" else image
    image.save(path, **({"quality": 92} if kind == "jpeg" else {}))
    return Image(path.name, sha256_of_file(path), side, side)


def random_model(dtype: torch.dtype = torch.bfloat16) -> Loaded:
    """MedGemma's tower and pooling on the GPU, with biases and norms that are not trivial."""
    small = build_processor(vocabulary=1024, seed=0)
    processor = medgemma_processor(small.tokenizer, small.chat_template)
    config = medgemma_config(processor)
    config.text_config.num_hidden_layers = 1
    torch.manual_seed(0)
    with torch.device("cuda"):
        model = Gemma3ForConditionalGeneration(config)
    for parameter in model.model.vision_tower.parameters():
        if parameter.dim() == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
    return Loaded(model.to(dtype).eval(), processor, load_family("gemma3"), "0" * 40)


def put(engine: str, loaded: Loaded) -> str:
    """Put the tower of an engine into the model; its name."""
    if engine.startswith("ours"):
        return speed_up_tower(loaded, 0, fp8=engine == "ours fp8")
    if engine == "compiled":
        loaded.family.vision_tower(loaded.base).compile(dynamic=False)
    return engine


def levels(images: int) -> torch.Tensor:
    """Blurred noise, (images, side, side, channels), uint8."""
    torch.manual_seed(1)
    coarse = torch.rand(images, 3, 64, 64, device="cuda") * 255
    fine = torch.nn.functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic") + 8 * torch.randn(SIDE, SIDE).cuda()
    return fine.clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def inputs(loaded: Loaded, images: int) -> torch.Tensor:
    """What the tower takes of `levels`."""
    given = levels(images)
    if getattr(loaded.family.vision_tower(loaded.base), "takes_levels", False):
        return given
    values = loaded.family.values_of_levels(loaded.processor).cuda()
    pixels = torch.stack([values[channel][given[..., channel].long()] for channel in range(3)], 1)
    return pixels.to(loaded.base.dtype)


@torch.inference_mode()
def features(loaded: Loaded, given: torch.Tensor) -> torch.Tensor:
    """Pooled features of inputs, as the family gives them."""
    return loaded.family.features(loaded.base, loaded.processor, given, [(SIDE, SIDE)] * len(given))


def reference() -> torch.Tensor:
    """Features of two images by the library's tower in float32."""
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    loaded = random_model(torch.float32)
    wanted = features(loaded, inputs(loaded, 2))
    del loaded
    torch.cuda.empty_cache()
    return wanted


def errors(loaded: Loaded, wanted: torch.Tensor) -> dict[str, float]:
    """Of two images' features against `wanted`, in a batch of the size that was timed."""
    got = features(loaded, inputs(loaded, 2)).float()
    cosine = torch.nn.functional.cosine_similarity(got, wanted).min()
    difference = got - wanted
    return {
        "relative_error": float(f"{(difference.norm() / wanted.norm()).item():.2e}"),
        "largest_error": float(f"{(difference.abs().max() / wanted.abs().max()).item():.2e}"),
        "least_cosine": round(cosine.item(), 6),
    }


def tower_alone(loaded: Loaded, batch: int) -> float:
    """Images/s of tower and pooling, inputs on the GPU: the median of six."""
    given, seconds = inputs(loaded, batch), []
    for number in range(8):
        torch.cuda.synchronize()
        start = time.perf_counter()
        features(loaded, given)
        torch.cuda.synchronize()
        seconds += [time.perf_counter() - start] * (number > 1)
    return batch / median(seconds)


def prepare_alone(loaded: Loaded, images: list[Image], root: Path, workers: int) -> float:
    """Images/s that the processes prepare, from the first one on; half of the images are enough."""
    ready = prepared(loaded, images[: len(images) // 2], root, workers)
    next(ready)
    start = time.perf_counter()
    count = sum(1 for _ in ready)
    return count / (time.perf_counter() - start)


def from_files(loaded: Loaded, images: list[Image], root: Path, workers: int, batch: int) -> float:
    """Images/s of the product's `compute`, from the end of the first batch on: the processes' start is not counted."""
    ends: list[float] = []
    bar = tqdm(total=len(images), disable=True)
    bar.update = lambda count: ends.append(time.perf_counter())  # type: ignore[method-assign]
    compute(loaded, images, prepared(loaded, images, root, workers), batch, bar)
    return (len(images) - batch) / (time.perf_counter() - ends[0])


if __name__ == "__main__":
    main()
