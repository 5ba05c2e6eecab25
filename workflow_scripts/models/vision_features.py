"""Vision features kept on disk: shards of pooled tower outputs, found by the hash of the image file.

An `index.parquet` (schema `FEATURES`) says which `*.safetensors` shard of the store has an image, its path relative to
the index. A shard has one tensor `features` of shape (images, image tokens, vision width) in the compute dtype.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from workflow_scripts.core.files import BadFile
from workflow_scripts.core.tables import FEATURES, read_table


class FeatureStore:
    """Read features by image hash. Shards are memory-mapped: only the rows asked for are read."""

    def __init__(self, index: Path) -> None:
        table = read_table(index, FEATURES)
        places = zip(table["shard"].to_pylist(), table["row"].to_pylist(), strict=True)
        self._index = index
        self._places = dict(zip(table["sha256"].to_pylist(), places, strict=True))
        self._shards: dict[str, object] = {}

    def __contains__(self, sha256: str) -> bool:
        return sha256 in self._places

    def read(self, hashes: Sequence[str]) -> torch.Tensor:
        """Features of the images, in this order: (images, image tokens, vision width).

        Raises:
            BadFile: an image is not in the store, or a shard is damaged.
        """
        rows = []
        for sha256 in hashes:
            if sha256 not in self._places:
                raise BadFile(f"{self._index} has no features of image {sha256}; run the features rule again")
            shard, row = self._places[sha256]
            rows.append(self._slice(shard)[row : row + 1])
        return torch.cat(rows)

    def _slice(self, shard: str):
        if shard not in self._shards:
            path = self._index.parent / shard
            try:
                self._shards[shard] = safe_open(path, framework="pt").get_slice("features")
            except (OSError, SafetensorError) as error:
                raise BadFile(
                    f"{path} is not a readable feature shard ({error}); delete {self._index} and run again"
                ) from None
        return self._shards[shard]
