"""What one reading of an image tells: hashes of its bytes, of its pixels and of what it looks like."""

import hashlib
import pickle
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from workflow_scripts.core.files import BadFile, sha256_of
from workflow_scripts.core.images import RANGE, BadImage, Decoded, Deep, decode, image_bytes, pgm_of
from workflow_scripts.core.rows import ImageFacts

ROWS, COLUMNS = 16, 18
"""Points of the grid that an image is brought to before its points are compared."""

FLAT = 8
"""Grey levels between the darkest and the brightest point below which an image looks like any other."""

ENOUGH = 128
"""Pixels of the shorter side that are more than enough for the grid."""


class Probe(NamedTuple):
    """What one reading of an image tells. `fault` is None, and `facts` are there, where it decodes."""

    sha256: str  # of the file, or of the member of a zip; empty where it cannot be read
    facts: ImageFacts | None
    fault: str | None = None


def probe_images(root: Path, paths: Sequence[str], deep: Deep = "percentile") -> list[Probe]:
    """Read, hash and decode each image once.

    Where `deep` is `range`, a deep image gets the path and the hash of what its whole range makes of it.
    """
    readings = [_read(root, path, deep) for path in paths]
    hashes = iter(difference_hashes([grid for _, _, grid in readings if grid is not None]))
    probes = []
    for each, facts, grid in readings:
        if grid is not None:
            dhash, dhash_fine = next(hashes)
            each = Probe(each.sha256, ImageFacts(dhash=dhash, dhash_fine=dhash_fine, **facts))
        probes.append(each)
    return probes


def packed_probes(root: Path, paths: Sequence[str], hashes: Sequence[str], deep: Deep) -> bytes:
    """`probe_images` for another process, which one between them need not unpack; see `unpacked`.

    Args:
        hashes: SHA-256 that each file is to have; empty for the member of a zip.

    Raises:
        BadFile: a file has another.
    """
    probes = probe_images(root, paths, deep)
    for path, probe, known in zip(paths, probes, hashes, strict=True):
        if known and probe.sha256 and probe.sha256 != known:
            raise BadFile(f"{path} is not what the manifest says: the dataset changed; make the manifest again")
    return pickle.dumps(list(zip(paths, probes, strict=True)), pickle.HIGHEST_PROTOCOL)


def unpacked(packed: Iterable[bytes]) -> dict[str, Probe]:
    """Probes by path, out of what `packed_probes` made."""
    return {path: probe for each in packed for path, probe in pickle.loads(each)}  # noqa: S301 (of our own process)


def _read(root: Path, path: str, deep: Deep) -> tuple[Probe, dict[str, Any], bytes | None]:
    """One image: its probe without facts, the facts but for what it looks like, and the grid that tells this."""
    try:
        data = image_bytes(root, path)
    except BadImage as error:
        return Probe("", None, str(error)), {}, None
    sha256 = sha256_of(data)
    try:
        decoded = decode(data, path, deep)
    except BadImage as error:
        return Probe(sha256, None, str(error)), {}, None
    ranged = deep == "range" and decoded.values is not None
    facts = {
        "path": path + RANGE if ranged else path,
        "sha256": sha256_of(pgm_of(decoded.image)) if ranged else sha256,
        "pixel_sha256": pixel_hash(decoded),
        "mode": decoded.mode,
        "depth": decoded.depth,
        "frames": decoded.frames,
        "width": decoded.image.width,
        "height": decoded.image.height,
        "low": decoded.low,
        "high": decoded.high,
    }
    return Probe(sha256, None), facts, grid_of(decoded.image)


def pixel_hash(decoded: Decoded) -> str:
    """SHA-256 of an image's size and values: equal for files that differ in their format or their metadata alone."""
    values = decoded.values
    kind = "RGB" if values is None else "real" if values.dtype.kind == "f" else "whole"
    running = hashlib.sha256(f"{kind} {decoded.image.width} {decoded.image.height} ".encode())
    if values is None:
        running.update(decoded.image.tobytes())
    else:
        running.update(values.astype(np.float64 if kind == "real" else np.int64).tobytes())
    return running.hexdigest()


def grid_of(image: PIL.Image.Image) -> bytes:
    """The brightness of an image on a grid of 16 × 18 points."""
    if (factor := min(image.size) // ENOUGH) > 1:
        image = image.reduce(factor)
    return image.convert("L").resize((COLUMNS, ROWS), PIL.Image.Resampling.BOX).tobytes()


def difference_hashes(grids: Sequence[bytes]) -> list[tuple[str, str]]:
    """Two hashes of what each image looks like, 64 and 256 bits in hexadecimal digits; empty for a flat one.

    A bit says whether brightness rises from one point to the next of a row, on grids of 8 × 9 and 16 × 17 points: it
    outlives new encodings, other sizes and brightness, and crops of a few percent.
    """
    if not grids:
        return []
    fine = np.frombuffer(b"".join(grids), np.uint8).reshape(-1, ROWS, COLUMNS)
    coarse = fine.reshape(-1, ROWS // 2, 2, COLUMNS // 2, 2).sum(axis=(2, 4), dtype=np.int32)
    flat = np.ptp(fine.reshape(len(grids), -1), axis=1) < FLAT
    bits = [
        np.packbits((points[:, :, 1:] > points[:, :, :-1]).reshape(len(grids), -1), axis=1)
        for points in (coarse, fine[:, :, :-1])
    ]
    return [
        ("", "") if dull else (one.tobytes().hex(), other.tobytes().hex())
        for dull, one, other in zip(flat, *bits, strict=True)
    ]
