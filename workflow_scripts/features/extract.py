"""Step: the vision tower's pooled output of every image of a split, computed once an image and model."""

import argparse
import hashlib
import os
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from workflow_scripts.cache import fingerprints as code
from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import atomic
from workflow_scripts.core.images import open_image
from workflow_scripts.core.tables import FEATURES, ROWS, read_table, write_table
from workflow_scripts.models.loading import Loaded, best_device, compute_dtype, load
from workflow_scripts.models.record import read_record
from workflow_scripts.models.threads import use_threads

SHARD = 2048
"""Images of a shard: 2048 × 256 × 1152 values of two bytes are 1.2 GB for MedGemma."""


WORTH_COMPILING = 2000
"""Images from which on compiling the tower (half a minute) pays."""


class _Images(Dataset):
    """Images of one shard as the vision tower takes them."""

    def __init__(self, paths: list[str], root: Path, loaded: Loaded) -> None:
        self._paths, self._tree, self._family, self._processor = paths, root, loaded.family, loaded.processor
        self._dtype = loaded.base.dtype

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels = self._family.pixels(self._processor, [open_image(self._tree, self._paths[index])])[0]
        return pixels.to(self._dtype)


def extract(split: Path, root: Path, record: Path, index: Path, batch: int, threads: int, store: Path) -> None:
    """Write `index` of the split's images; those that `store` does not have are computed and kept there, in shards.

    Below the store lies one folder for each model, dtype and version of this step's code. All threads but one prepare
    images, in processes of their own. Without an image to compute, no model is loaded.
    """
    use_threads(threads)
    images = {image["sha256"]: image["path"] for row in read_table(split, ROWS)["images"].to_pylist() for image in row}
    dtype = compute_dtype(best_device())
    identity = [code.identity("workflow_scripts.features.extract"), read_record(record)[0].content, str(dtype)]
    folder = store / hashlib.sha256(repr(identity).encode()).hexdigest()[:16]
    places = places_below(folder)
    missing = sorted(images.keys() - places.keys())
    print(f"vision features of {len(images)} images: {len(images) - len(missing)} kept, {len(missing)} computed")
    if missing:
        _compute_shards(folder, missing, images, root, load(record), batch, threads - 1)
        places = places_below(folder)
    beside = os.path.relpath(folder, index.parent)
    rows = [{"sha256": sha, "shard": f"{beside}/{places[sha][0]}", "row": places[sha][1]} for sha in sorted(images)]
    write_table(index, rows, FEATURES)


def places_below(folder: Path) -> dict[str, tuple[str, int]]:
    """Shard and row of each image's features in a folder of the store; shards that cannot be read count for nothing."""
    places = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, framework="pt") as shard:
                hashes = (shard.metadata() or {}).get("images", "").split()
        except (OSError, SafetensorError) as error:
            print(f"{path} is not readable ({error}): its images are computed again")
            continue
        places |= {sha256: (path.name, row) for row, sha256 in enumerate(hashes)}
    return places


def _compute_shards(
    folder: Path, missing: list[str], images: dict[str, str], root: Path, loaded: Loaded, batch: int, workers: int
) -> None:
    """Compute features of the images `missing`, a shard at a time: a killed job goes on behind its last one."""
    if loaded.device.type == "cuda" and len(missing) >= WORTH_COMPILING:
        loaded.family.vision_tower(loaded.base).compile(dynamic=False)
    tokens, width = _shape(loaded)
    size = torch.finfo(loaded.base.dtype).bits // 8
    total = len(missing) * tokens * width * size
    print(f"{len(missing)} images × {tokens} tokens × {width} values × {size} bytes = {total / 2**20:.1f} MiB")
    with tqdm(total=len(missing), desc="vision features", mininterval=5) as bar:
        for start in range(0, len(missing), SHARD):
            part = missing[start : start + SHARD]
            name = hashlib.sha256("\n".join(part).encode()).hexdigest()[:16]
            tensor = compute(loaded, [images[sha] for sha in part], root, batch, workers, bar)
            with atomic(folder / f"{name}.safetensors") as temporary:
                save_file({"features": tensor}, temporary, metadata={"images": " ".join(part)})


@torch.inference_mode()
def compute(
    loaded: Loaded, paths: list[str], root: Path, batch: int, workers: int, bar: tqdm | None = None
) -> torch.Tensor:
    """Features of the images on the CPU: (images, image tokens, vision width), in the compute dtype."""
    on_gpu = loaded.device.type == "cuda"
    images = _Images(paths, root, loaded)
    parts = []
    for pixels in DataLoader(images, batch_size=batch, num_workers=workers, pin_memory=on_gpu):
        count = len(pixels)
        if on_gpu and count < batch:  # a compiled tower knows one batch size
            pixels = torch.cat([pixels, pixels.new_zeros(batch - count, *pixels.shape[1:])])
        pooled = loaded.family.pooled_features(loaded.base, pixels.to(loaded.device, non_blocking=True))
        parts.append(pooled[:count])  # left on the device: a copy back would wait for it at every batch
        if bar is not None:
            bar.update(count)
    return torch.cat(parts).cpu()


def _shape(loaded: Loaded) -> tuple[int, int]:
    config = loaded.base.config
    return loaded.family.image_tokens(config), loaded.family.vision_width(config)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--root", type=Path, required=True, help="folder that the image paths start from")
    parser.add_argument("--model", type=Path, required=True, help="record of the model")
    parser.add_argument("--index", type=Path, required=True, help="index.parquet to write")
    parser.add_argument("--store", type=Path, required=True, help="folder of kept features")
    parser.add_argument("--batch", type=int, required=True, help="images at once")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    given = parser.parse_args()
    extract(given.split, given.root, given.model, given.index, given.batch, given.threads, given.store)


if __name__ == "__main__":
    run_step(main)
