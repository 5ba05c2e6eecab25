"""Step: compute the vision tower's pooled output once for every image of a split, in resumable shards."""

import argparse
import hashlib
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import atomic
from workflow_scripts.core.images import open_image
from workflow_scripts.core.tables import FEATURES, ROWS, read_table, write_table
from workflow_scripts.models.loading import Loaded, load

SHARD = 2048
"""Images of a shard: 2048 × 256 × 1152 values of two bytes are 1.2 GB for MedGemma."""


WORTH_COMPILING = 2000
"""Images from which on compiling the tower (half a minute) pays."""


class _Pictures(Dataset):
    """Images of one shard as the vision tower takes them."""

    def __init__(self, paths: list[str], tree: Path, loaded: Loaded) -> None:
        self._paths, self._tree, self._family, self._processor = paths, tree, loaded.family, loaded.processor
        self._dtype = loaded.base.dtype

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        pixels = self._family.pixels(self._processor, [open_image(self._tree, self._paths[index])])[0]
        return pixels.to(self._dtype)


def extract(split: Path, tree: Path, record: Path, index: Path, batch: int, threads: int) -> None:
    """Write `index` and its shards. A shard that an earlier run finished for the same images is kept.

    All threads but one prepare images, in processes of their own.
    """
    torch.set_num_threads(threads)
    images = {image["sha256"]: image["path"] for row in read_table(split, ROWS)["images"].to_pylist() for image in row}
    loaded = load(record)
    if loaded.device.type == "cuda" and len(images) >= WORTH_COMPILING:
        loaded.family.vision_tower(loaded.base).compile(dynamic=False)
    tokens, width = _shape(loaded)
    size = torch.finfo(loaded.base.dtype).bits // 8
    total = len(images) * tokens * width * size
    print(f"{len(images)} images × {tokens} tokens × {width} values × {size} bytes = {total / 2**20:.1f} MiB")
    hashes = sorted(images)
    places = []
    bar = tqdm(total=len(hashes), desc="vision features", mininterval=5)
    for number, start in enumerate(range(0, len(hashes), SHARD)):
        part = hashes[start : start + SHARD]
        path = index.parent / f"features-{number:05d}.safetensors"
        key = hashlib.sha256("\n".join([loaded.revision, str(loaded.base.dtype), *part]).encode()).hexdigest()
        if _key_of(path) != key:
            tensor = compute(loaded, [images[sha] for sha in part], tree, batch, threads - 1, bar)
            with atomic(path) as temporary:
                save_file({"features": tensor}, temporary, metadata={"key": key})
        else:
            bar.update(len(part))
        places += [{"sha256": sha, "shard": path.name, "row": row} for row, sha in enumerate(part)]
    bar.close()
    write_table(index, places, FEATURES)


@torch.inference_mode()
def compute(
    loaded: Loaded, paths: list[str], tree: Path, batch: int, workers: int, bar: tqdm | None = None
) -> torch.Tensor:
    """Features of the images on the CPU: (images, image tokens, vision width), in the compute dtype."""
    on_gpu = loaded.device.type == "cuda"
    pictures = _Pictures(paths, tree, loaded)
    parts = []
    for pixels in DataLoader(pictures, batch_size=batch, num_workers=workers, pin_memory=on_gpu):
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


def _key_of(path: Path) -> str | None:
    """The key under which a finished shard was written; None where there is none to keep."""
    try:
        with safe_open(path, framework="pt") as shard:
            return (shard.metadata() or {}).get("key")
    except (OSError, SafetensorError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", type=Path, required=True, help="Parquet of rows")
    parser.add_argument("--tree", type=Path, required=True, help="folder that the image paths start from")
    parser.add_argument("--model", type=Path, required=True, help="record of the model")
    parser.add_argument("--index", type=Path, required=True, help="index.parquet to write, shards beside it")
    parser.add_argument("--batch", type=int, required=True, help="images at once")
    parser.add_argument("--threads", type=int, required=True, help="CPU threads")
    given = parser.parse_args()
    extract(given.split, given.tree, given.model, given.index, given.batch, given.threads)


if __name__ == "__main__":
    run_step(main)
