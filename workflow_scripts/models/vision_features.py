"""Vision features on disk: shards of tower outputs, found by the hash of the image file.

An `index.parquet` (rows `FeaturePlace`) says which shard of the store has an image, its path relative to the index. A
shard is an entry of the store whose file `features.safetensors` has a tensor `features` of shape (image tokens of all
its images, feature width) in the compute dtype, and `offsets` of shape (images + 1): where each image's rows begin.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors import SafetensorError, safe_open

from workflow_scripts.cache.store import fault_of_file
from workflow_scripts.core.files import BadFile, sha256_of
from workflow_scripts.core.images import BadImage, decode_image, image_bytes
from workflow_scripts.core.tables import read_rows
from workflow_scripts.core.training_rows import FeaturePlace

SHARD_FILE = "features.safetensors"


class FeatureStore:
    """Reads features by image hash. Shards are memory-mapped: only the rows that are needed are read.

    A process checks all bytes of a shard against its checksum when it opens it for the first time.
    """

    def __init__(self, index: Path) -> None:
        self._index = index
        self._places = {place.sha256: (place.shard, place.row) for place in read_rows(index, FeaturePlace)}
        self._slices: dict[str, tuple[Any, list[int]]] = {}
        self._verified: set[str] = set()

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._places

    @property
    def identity(self) -> str:
        """What computed the features: the cache key that all shards lie under."""
        return "+".join(sorted({Path(shard).parent.parent.name for shard, _ in self._places.values()}))

    def verify(self) -> None:
        """Check all shards now, some at a time: processes that start from this one need not.

        Raises:
            BadFile: a shard is damaged.
        """
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(self._verify, sorted({shard for shard, _ in self._places.values()})))

    def read(self, hashes: Sequence[str]) -> torch.Tensor:
        """Features of the images, one image's rows after the other's: (image tokens of all, feature width).

        Raises:
            BadFile: an image is not in the store, or a shard is damaged.
        """
        rows = []
        for sha256 in hashes:
            if sha256 not in self._places:
                raise BadFile(f"{self._index} has no features of image {sha256}; run the features rule again")
            shard, row = self._places[sha256]
            features, offsets = self._slice(shard)
            rows.append(features[offsets[row] : offsets[row + 1]])
        return torch.cat(rows)

    def _verify(self, shard: str) -> None:
        if shard not in self._verified:
            if (fault := fault_of_file(self._index.parent / shard)) is not None:
                raise self._bad(shard, fault)
            self._verified.add(shard)

    def _slice(self, shard: str) -> tuple[Any, list[int]]:
        if shard not in self._slices:
            self._verify(shard)
            try:
                file = safe_open(self._index.parent / shard, framework="pt")
                self._slices[shard] = (file.get_slice("features"), file.get_tensor("offsets").tolist())
            except (OSError, SafetensorError) as error:
                raise self._bad(shard, str(error)) from None
        return self._slices[shard]

    def _bad(self, shard: str, reason: str) -> BadFile:
        path = self._index.parent / shard
        return BadFile(f"{path} is not a readable feature shard ({reason}); delete {self._index} and run again")


def open_converted(root: Path, path: str, sha256: str) -> Image.Image:
    """The image of a row as RGB, if its file is still the one that was converted.

    Raises:
        BadImage: it is missing, cannot be decoded, or was changed.
    """
    data = image_bytes(root, path)
    if (now := sha256_of(data)) != sha256:
        raise BadImage(
            f"{path} is not the image that was converted (its SHA-256 begins with {now[:12]}, the row's with "
            f"{sha256[:12]}): convert again"
        )
    return decode_image(data, path)
