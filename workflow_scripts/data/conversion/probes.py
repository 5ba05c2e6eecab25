"""What one reading of an image tells: hashes of its bytes, of its pixels and of what it looks like."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import fields
from operator import attrgetter
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


TOGETHER = 16
"""Images of which one step is done after the other: small ones take a tenth less time so, since code stays cached."""

BYTES, PIXELS = 2**20, 2**20
"""Files are read together up to so many bytes, and the images of these are described together up to so many pixels."""


class Probe(NamedTuple):
    """What one reading of an image tells. `fault` is None, and `facts` are there, where it decodes."""

    sha256: str  # of the file, or of the member of a zip; empty where it cannot be read
    facts: ImageFacts | None
    fault: str | None = None


def probe_images(root: Path, paths: Sequence[str], deep: Deep = "percentile") -> list[Probe]:
    """Read, hash and decode each image once.

    Where `deep` is `range`, a deep image gets the path and the hash of what its whole range makes of it.
    """
    readings: list[_Reading] = []
    batch: list[_File] = []
    for number, path in enumerate(paths, 1):
        batch.append(_file(root, path))
        if len(batch) == TOGETHER or number == len(paths) or sum(len(file.data) for file in batch) > BYTES:
            readings += _readings(batch, deep)
            batch = []
    hashes = iter(difference_hashes([reading.grid for reading in readings if reading.grid is not None]))
    probes = []
    for probe, facts, grid in readings:
        if grid is not None:
            dhash, dhash_fine = next(hashes)
            probe = Probe(probe.sha256, ImageFacts(dhash=dhash, dhash_fine=dhash_fine, **facts))
        probes.append(probe)
    return probes


def packed_probes(root: Path, paths: Sequence[str], hashes: Sequence[str], deep: Deep) -> str:
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
    values = [None if probe.facts is None else _VALUES(probe.facts) for probe in probes]
    return json.dumps(
        [(path, probe.sha256, facts, probe.fault) for path, probe, facts in zip(paths, probes, values, strict=True)]
    )


_VALUES = attrgetter(*(field.name for field in fields(ImageFacts)))


def unpacked(packed: Iterable[str]) -> dict[str, Probe]:
    """Probes by path, out of what `packed_probes` made."""
    return {
        path: Probe(sha256, None if facts is None else ImageFacts(*facts), fault)
        for each in packed
        for path, sha256, facts, fault in json.loads(each)
    }


class _File(NamedTuple):
    path: str
    data: bytes
    fault: str | None


class _Reading(NamedTuple):
    """One image: its probe without facts, the facts but for what it looks like, and the grid that tells this."""

    probe: Probe
    facts: dict[str, Any]
    grid: bytes | None


def _file(root: Path, path: str) -> _File:
    try:
        return _File(path, image_bytes(root, path), None)
    except BadImage as error:
        return _File(path, b"", str(error))


def _readings(files: Sequence[_File], deep: Deep) -> list[_Reading]:
    hashes = ["" if file.fault else sha256_of(file.data) for file in files]
    readings: list[_Reading] = []
    decoded: dict[int, Decoded] = {}  # by place in `readings`, which has no facts of them yet
    pixels = 0
    for file, sha256 in zip(files, hashes, strict=True):
        fault = file.fault
        if fault is None:
            try:
                decoded[len(readings)] = image = decode(file.data, file.path, deep)
                pixels += image.image.width * image.image.height
            except BadImage as error:
                fault = str(error)
        readings.append(_Reading(Probe(sha256, None, fault), {"path": file.path}, None))
        if pixels > PIXELS:
            _describe(readings, decoded, deep)
            pixels = 0
    _describe(readings, decoded, deep)
    return readings


def _describe(readings: list[_Reading], decoded: dict[int, Decoded], deep: Deep) -> None:
    """Say in `readings` what the images `decoded` are, and forget these."""
    hashes = list(map(pixel_hash, decoded.values()))
    grids = [grid_of(each.image) for each in decoded.values()]
    for (place, each), pixel_sha256, grid in zip(decoded.items(), hashes, grids, strict=True):
        probe, path = readings[place].probe, readings[place].facts["path"]
        ranged = deep == "range" and each.values is not None
        facts = {
            "path": path + RANGE if ranged else path,
            "sha256": sha256_of(pgm_of(each.image)) if ranged else probe.sha256,
            "pixel_sha256": pixel_sha256,
            "mode": each.mode,
            "depth": each.depth,
            "frames": each.frames,
            "width": each.image.width,
            "height": each.image.height,
            "low": each.low,
            "high": each.high,
        }
        readings[place] = _Reading(probe, facts, grid)
    decoded.clear()


def pixel_hash(decoded: Decoded) -> str:
    """SHA-256 of an image's size and values: equal for files that differ in their format or their metadata alone."""
    values = decoded.values
    kind = "RGB" if values is None else "real" if values.dtype.kind == "f" else "whole"
    running = hashlib.sha256(f"{kind} {decoded.image.width} {decoded.image.height} ".encode())
    if values is None:  # what Pillow gives out is a copy
        running.update(decoded.image.tobytes() if decoded.pixels is None else np.ascontiguousarray(decoded.pixels).data)
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
