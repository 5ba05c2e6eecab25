"""Step: the vision tower's output of every image of a split, computed once an image and model."""

import os
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import zip_longest
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from workflow_scripts.cache.fingerprints import identity
from workflow_scripts.cache.keys import cache_key
from workflow_scripts.cache.store import EntryStore
from workflow_scripts.core.command import Refused, run_step
from workflow_scripts.core.images import BadImage
from workflow_scripts.core.rows import Image, Row
from workflow_scripts.core.tables import read_rows, write_rows
from workflow_scripts.core.training_rows import FeaturePlace
from workflow_scripts.features.towers import keep_greatest, risen, speed_up_tower, takes_levels
from workflow_scripts.models.loading import Loaded, load
from workflow_scripts.models.record import read_record
from workflow_scripts.models.runtime import identity_of_runtime
from workflow_scripts.models.threads import use_threads
from workflow_scripts.models.vision_features import SHARD_FILE, open_converted

SHARD = 2048
"""Images of a shard: 2048 × 256 × 1152 values of two bytes are 1.2 GB for MedGemma."""

LARGE = 8 * 2**30
"""Bytes of a shard beside which memory is not asked to hold another."""

PIECE = 4
"""Images that a process prepares at a time: few, so that all processes have work until the last image."""

AHEAD = 4
"""Such pieces that each process keeps ready."""


class _Images(Dataset):
    """Images as the vision tower takes them."""

    def __init__(self, images: Sequence[Image], root: Path, loaded: Loaded) -> None:
        self._images, self._root, self._family, self._processor = images, root, loaded.family, loaded.processor
        self._dtype, self._levels = loaded.base.dtype, takes_levels(loaded)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor | BadImage:
        """What is wrong with an image is returned: raised, it would come from a process as the text of a traceback."""
        try:
            image = open_converted(self._root, self._images[index].path, self._images[index].sha256)
        except BadImage as error:
            return error
        if self._levels:
            return self._family.levels(self._processor, image)
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
        places |= _compute_shards(shards, missing, root, load(model), batch, threads - 1, fp8=record.vision_fp8)
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
    shards: EntryStore, missing: list[Image], root: Path, loaded: Loaded, batch: int, workers: int, *, fp8: bool
) -> dict[str, tuple[str, int]]:
    """Compute features of the images `missing`, a shard at a time: a killed job goes on after its last one."""
    family = loaded.family
    tower = speed_up_tower(loaded, len(missing), fp8=fp8)
    print(f"vision tower: {tower}")
    tokens = sum(tokens_of(loaded, image) for image in missing)
    width, size = family.feature_width(loaded.base.config), torch.finfo(loaded.base.dtype).bits // 8
    total = tokens * width * size / 2**20
    print(f"{len(missing)} images, {tokens} tokens × {width} values × {size} bytes = {total:.1f} MiB")
    places: dict[str, tuple[str, int]] = {}
    written: list[Future[str]] = []
    with (
        closing(prepared(loaded, missing, root, workers)) as ready,
        tqdm(total=len(missing), desc="vision features", mininterval=5) as bar,
        ThreadPoolExecutor(1) as writer,  # a shard is written while the next is computed
    ):
        for start in range(0, len(missing), SHARD):
            part = missing[start : start + SHARD]
            hashes = [image.sha256 for image in part]
            counts = [tokens_of(loaded, image) for image in part]
            if written and sum(counts) * width * size > LARGE:
                written[-1].result()  # so that no more than one is in memory
            tensor = compute(loaded, part, ready, batch, bar)
            if written:
                written[-1].result()  # so that no more than two are
            written.append(writer.submit(write_shard, shards, hashes, tensor, counts, tower=tower))
            del tensor
    for start, shard in zip(range(0, len(missing), SHARD), written, strict=True):
        key = shard.result()
        places |= {image.sha256: (key, row) for row, image in enumerate(missing[start : start + SHARD])}
    return places


def write_shard(
    shards: EntryStore, hashes: Sequence[str], tensor: torch.Tensor, tokens: Sequence[int], *, tower: str
) -> str:
    """Publish the features of the images `hashes`, in this order, of so many rows each; return the shard's key."""
    key = cache_key("feature shard", images=list(hashes))
    with shards.put(key, {"images": list(hashes), "tower": tower}) as folder:
        offsets = torch.tensor([0, *tokens]).cumsum(0)
        save_file({"features": tensor, "offsets": offsets}, folder / SHARD_FILE)
    return key


def prepared(loaded: Loaded, images: Sequence[Image], root: Path, workers: int) -> Generator[torch.Tensor, None, None]:
    """Each image as the tower takes it, in their order, prepared ahead by processes, which end when this is closed.

    Raises:
        BadImage: an image cannot be read, or is not the one that was converted.
    """
    pieces = DataLoader(
        _Images(images, root, loaded),
        batch_size=PIECE,
        num_workers=workers,
        prefetch_factor=AHEAD if workers else None,
        pin_memory=loaded.device.type == "cuda",
        collate_fn=_together,
    )
    return _each(iter(pieces))


def _each(pieces: Iterator[tuple[torch.Tensor, list[int]] | BadImage]) -> Generator[torch.Tensor, None, None]:
    """The images of the pieces."""
    try:
        for piece in pieces:
            if isinstance(piece, BadImage):
                raise piece
            together, entries = piece
            yield from together.split(entries)
    finally:
        del pieces  # as garbage it could no longer tell its processes, and would wait 5 s for each


def _together(images: list[torch.Tensor | BadImage]) -> tuple[torch.Tensor, list[int]] | BadImage:
    """Entries of all images, and how many each has; or what is wrong with the first that is bad."""
    tensors: list[torch.Tensor] = []
    for image in images:
        if isinstance(image, BadImage):
            return image
        tensors.append(image)
    return torch.cat(tensors), [len(tensor) for tensor in tensors]


@torch.inference_mode()
def compute(
    loaded: Loaded, images: Sequence[Image], ready: Iterator[torch.Tensor], batch: int, bar: tqdm | None = None
) -> torch.Tensor:
    """Features of the images on the CPU: (image tokens of all, feature width), in the compute dtype.

    While the device computes a batch, the next one's images are copied to it, and the last one's features from it.

    Args:
        ready: what `prepared` gives, from the first of these images on.
        batch: images at once.

    Raises:
        BadImage: an image cannot be read, or is not the one that was converted.
        Refused: features of an image are not finite.
    """
    batches = [images[start : start + batch] for start in range(0, len(images), batch)]
    tokens = [sum(tokens_of(loaded, image) for image in some) for some in batches]
    width = loaded.family.feature_width(loaded.base.config)
    features = torch.empty(sum(tokens), width, dtype=loaded.base.dtype)
    places = iter(features.split(tokens))
    copies, running = _Copies(ready, loaded.device), None
    copies.begin(len(batches[0]))
    for some, after in zip_longest(batches, batches[1:], fillvalue=()):
        begun = _Batch(loaded, some, copies.finished(), batch)
        copies.begin(len(after))
        if running is not None:
            running.finish(next(places), bar)
        running = begun
    if running is not None:
        running.finish(next(places), bar)
    return features


class _Batch:
    """Images whose features the device was told to compute."""

    def __init__(self, loaded: Loaded, images: Sequence[Image], pixels: torch.Tensor, batch: int) -> None:
        self._loaded, self._images, self._pixels, self._batch = loaded, images, pixels, batch
        features = self._features()
        flag = risen(loaded)
        self._copy = features.to("cpu", non_blocking=True)
        self._risen = None if flag is None else flag.to("cpu", non_blocking=True)
        self._end = torch.cuda.Event() if loaded.device.type == "cuda" else None
        if self._end is not None:
            self._end.record()

    def finish(self, place: torch.Tensor, bar: tqdm | None) -> None:
        """Wait for the features, and write them to `place`, (image tokens, width).

        Raises:
            Refused: those of an image are not finite.
        """
        if self._end is not None:
            self._end.synchronize()
        if self._risen is not None and self._risen.item():
            keep_greatest(self._loaded)
            self._copy = self._features()
        place.copy_(self._copy)
        if not torch.stack(place.aminmax()).isfinite().all():  # a twentieth of the time that a look at each takes
            self._refuse(place)
        if bar is not None:
            bar.update(len(self._images))

    def _refuse(self, place: torch.Tensor) -> None:
        parts = place.split([tokens_of(self._loaded, image) for image in self._images])
        image = next(image for image, part in zip(self._images, parts, strict=True) if not part.isfinite().all())
        raise Refused(
            f"{image.path}: its features are not finite in {str(place.dtype).removeprefix('torch.')}: the model's "
            "weights are damaged, or too large for this precision; fetch the checkpoint again, or take another"
        )

    def _features(self) -> torch.Tensor:
        loaded, images, pixels = self._loaded, self._images, self._pixels
        family = loaded.family
        sizes = [(image.width, image.height) for image in images]
        compiled = loaded.device.type == "cuda" and family.fixed_size and not takes_levels(loaded)
        if compiled and len(images) < self._batch:  # a compiled tower knows one batch size
            absent = self._batch - len(images)
            sizes += [sizes[-1]] * absent
            pixels = torch.cat([pixels, pixels.new_zeros(absent * (len(pixels) // len(images)), *pixels.shape[1:])])
        features = family.features(loaded.base, loaded.processor, pixels, sizes)
        return features[: sum(tokens_of(loaded, image) for image in images)]


class _Copies:
    """Copies of images to the device, beside what it computes."""

    def __init__(self, ready: Iterator[torch.Tensor], device: torch.device) -> None:
        self._ready, self._device = ready, device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None
        self._begun: list[torch.Tensor] = []

    def begin(self, count: int) -> None:
        """Begin to copy the next `count` images."""
        with torch.cuda.stream(self._stream):
            self._begun = [next(self._ready).to(self._device, non_blocking=True) for _ in range(count)]

    def finished(self) -> torch.Tensor:
        """Entries of the images that were begun, on the device; what is computed next waits for them."""
        if self._stream is not None:
            current = torch.cuda.current_stream(self._device)
            current.wait_stream(self._stream)
            for image in self._begun:
                image.record_stream(current)
        return torch.cat(self._begun)


def tokens_of(loaded: Loaded, image: Image) -> int:
    """Image tokens, and rows of features, of an image."""
    return loaded.family.image_tokens(loaded.processor, (image.width, image.height))


if __name__ == "__main__":
    run_step(extract)
