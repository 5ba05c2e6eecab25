"""Step: the vision tower's output of every image of a split, computed once an image and model."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from workflow_scripts.cache.fingerprints import identity
from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import EntryStore
from workflow_scripts.core.command import run_step
from workflow_scripts.core.images import BadImage
from workflow_scripts.core.rows import Image, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import FeaturePlace
from workflow_scripts.models.loading import Loaded, load
from workflow_scripts.models.record import read_record
from workflow_scripts.models.runtime import identity_of_runtime
from workflow_scripts.models.threads import use_threads
from workflow_scripts.models.vision_features import SHARD_FILE, open_converted

SHARD = 2048
"""Images of a shard: 2048 × 256 × 1152 values of two bytes are 1.2 GB for MedGemma."""


WORTH_COMPILING = 2000
"""Images from which on compiling the tower (half a minute) pays."""


class _Images(Dataset):
    """Images of one shard as the vision tower takes them."""

    def __init__(self, images: Sequence[Image], root: Path, loaded: Loaded) -> None:
        self._images, self._root, self._family, self._processor = images, root, loaded.family, loaded.processor
        self._dtype = loaded.base.dtype

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor:
        image = open_converted(self._root, self._images[index].path, self._images[index].sha256)
        return self._family.pixels(self._processor, image).to(self._dtype)


def extract(*, split: Path, root: Path, model: Path, index: Path, store: Path, batch: int, threads: int) -> None:
    """Write the index of a split's vision features; those that the store does not have are computed, in shards.

    Below the store lies one folder for each model, runtime and version of this step's code. All threads but one prepare
    images, in processes of their own. Without an image to compute, no model is loaded.

    Args:
        split: Parquet of rows
        root: folder that the image paths start from
        model: record of the model
        index: Parquet to write
        store: folder of computed features
        batch: images at once
        threads: CPU threads
    """
    use_threads(threads)
    images = {image.sha256: image for row in read_rows(split, Row) for image in row.images}
    record, _ = read_record(model)
    key = cache_key(
        "features",
        code=identity("workflow_scripts.features.extract", record.family),
        model=record.content,
        runtime=identity_of_runtime(),
    )
    shards = EntryStore(store / key)
    places = stored_places(shards, images, threads)
    missing = [images[sha256] for sha256 in sorted(images.keys() - places.keys())]
    print(f"vision features of {len(images)} images: {len(places)} stored, {len(missing)} to compute")
    if missing:
        places |= _compute_shards(shards, missing, root, load(model), batch, threads - 1)
    beside = os.path.relpath(shards.folder, index.parent)
    rows = [FeaturePlace(sha256, f"{beside}/{shard}/{SHARD_FILE}", row) for sha256, (shard, row) in places.items()]
    write_rows(index, sorted(rows, key=lambda place: place.sha256), FeaturePlace)


def stored_places(shards: EntryStore, images: dict[str, Image], threads: int) -> dict[str, tuple[str, int]]:
    """Shard and row of the features of those `images` that are stored, by image hash.

    Every byte of the shards that are needed is checked; a damaged one is removed, and its images are computed again.
    """
    rows = {shard: shards.parts(shard).get("images", []) for shard in shards.stored_keys()}
    needed = [shard for shard, hashes in rows.items() if not images.keys().isdisjoint(hashes)]
    with ThreadPoolExecutor(threads) as pool:
        whole = [shard for shard, folder in zip(needed, pool.map(shards.get, needed), strict=True) if folder]
    return {sha256: (shard, row) for shard in whole for row, sha256 in enumerate(rows[shard]) if sha256 in images}


def _compute_shards(
    shards: EntryStore, missing: list[Image], root: Path, loaded: Loaded, batch: int, workers: int
) -> dict[str, tuple[str, int]]:
    """Compute features of the images `missing`, a shard at a time: a killed job goes on after its last one."""
    family = loaded.family
    compiled = loaded.device.type == "cuda" and len(missing) >= WORTH_COMPILING and family.fixed_size
    if compiled and (tower := family.vision_tower(loaded.base)) is not None:
        tower.compile(dynamic=False)
    tokens = sum(tokens_of(loaded, image) for image in missing)
    width, size = family.feature_width(loaded.base.config), torch.finfo(loaded.base.dtype).bits // 8
    total = tokens * width * size / 2**20
    print(f"{len(missing)} images, {tokens} tokens × {width} values × {size} bytes = {total:.1f} MiB")
    places: dict[str, tuple[str, int]] = {}
    with tqdm(total=len(missing), desc="vision features", mininterval=5) as bar:
        for start in range(0, len(missing), SHARD):
            part = missing[start : start + SHARD]
            hashes = [image.sha256 for image in part]
            tensor = compute(loaded, part, root, batch, workers, bar)
            key = write_shard(shards, hashes, tensor, [tokens_of(loaded, image) for image in part], compiled=compiled)
            places |= {sha256: (key, row) for row, sha256 in enumerate(hashes)}
    return places


def write_shard(
    shards: EntryStore, hashes: Sequence[str], tensor: torch.Tensor, tokens: Sequence[int], *, compiled: bool
) -> str:
    """Publish the features of the images `hashes`, in this order, of so many rows each; return the shard's key."""
    key = cache_key("feature shard", images=list(hashes))
    with shards.put(key, {"images": list(hashes), "compiled": compiled}) as folder:
        offsets = torch.tensor([0, *tokens]).cumsum(0)
        save_file({"features": tensor, "offsets": offsets}, folder / SHARD_FILE)
    return key


@torch.inference_mode()
def compute(
    loaded: Loaded, images: Sequence[Image], root: Path, batch: int, workers: int, bar: tqdm | None = None
) -> torch.Tensor:
    """Features of the images on the CPU: (image tokens of all, feature width), in the compute dtype.

    Raises:
        BadImage: an image cannot be read, or is not the one that was converted.
    """
    on_gpu, family, processor = loaded.device.type == "cuda", loaded.family, loaded.processor
    parts, done = [], 0
    try:
        for pixels in DataLoader(
            _Images(images, root, loaded),
            batch_size=batch,
            num_workers=workers,
            pin_memory=on_gpu,
            collate_fn=torch.cat,
        ):
            some = images[done : done + batch]
            sizes = [(image.width, image.height) for image in some]
            entries = len(pixels) // len(some)
            if on_gpu and family.fixed_size and len(some) < batch:  # a compiled tower knows one batch size
                sizes += [sizes[-1]] * (batch - len(some))
                pixels = torch.cat([pixels, pixels.new_zeros((batch - len(some)) * entries, *pixels.shape[1:])])
            features = family.features(loaded.base, processor, pixels.to(loaded.device, non_blocking=True), sizes)
            # Left on the device: a copy back would wait for it at every batch.
            parts.append(features[: sum(tokens_of(loaded, image) for image in some)])
            done += len(some)
            if bar is not None:
                bar.update(len(some))
    except BadImage as error:
        # A worker process sends the whole traceback as the message.
        raise BadImage(str(error).strip().splitlines()[-1].rpartition("BadImage: ")[2]) from None
    return torch.cat(parts).cpu()


def tokens_of(loaded: Loaded, image: Image) -> int:
    """Image tokens, and rows of features, of an image."""
    return loaded.family.image_tokens(loaded.processor, (image.width, image.height))


if __name__ == "__main__":
    run_step(extract)
