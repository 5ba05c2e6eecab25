"""Images of the cases: scaled once each by a pool of processes, inside the page while they fit, else beside it."""

import base64
import io
import multiprocessing
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL.Image import Resampling

from workflow_scripts.core.command import end_with_parent
from workflow_scripts.core.files import atomic
from workflow_scripts.core.images import decode_image, image_bytes

SIDE = 640
"""Longest side of an image on the page, in pixels."""
QUALITY = 85
"""Of JPEG."""
SMALL = 16 * 2**10
"""Bytes: a PNG of up to so many is used instead of a JPEG, whose blocks show in drawn images."""
BATCH = 16
"""Images that a process takes at a time."""
ENDINGS = {"image/jpeg": "jpg", "image/png": "png"}


@dataclass(frozen=True)
class SmallImage:
    """An image at most `SIDE` pixels a side."""

    media_type: str
    data: bytes


@dataclass(frozen=True)
class StoredImages:
    """The images by SHA-256 of their source: as base64 inside the page, or as paths of files beside it."""

    inside: Mapping[str, tuple[str, str]]  # media type and base64
    files: Mapping[str, str]  # path relative to the page


def small_image(root: Path, path: str) -> SmallImage:
    """The image at `path` below `root`, at most `SIDE` pixels a side.

    Raises:
        BadImage: it is missing or cannot be decoded.
    """
    image = decode_image(image_bytes(root, path), path)
    image.thumbnail((SIDE, SIDE), Resampling.BILINEAR, reducing_gap=2.0)
    image.info.clear()
    stream = io.BytesIO()
    if max(image.size) <= SIDE // 4:
        image.save(stream, "PNG")
        if stream.tell() <= SMALL:
            return SmallImage("image/png", stream.getvalue())
        stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return SmallImage("image/jpeg", stream.getvalue())


def store_images(root: Path, paths: Mapping[str, str], folder: Path, most_bytes: int, workers: int) -> StoredImages:
    """Scale each image once and hold it for the page.

    Args:
        root: folder that the paths start from.
        paths: of each image by its SHA-256.
        folder: beside the page, for the files; it is there afterwards, and empty where all images fit into the page.
        most_bytes: that images may take inside the page, as base64; where they need more, all are files.
        workers: processes.

    Raises:
        BadImage: an image is missing or cannot be decoded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    inside: dict[str, tuple[str, str]] = {}
    files: dict[str, str] = {}
    size = 0
    for sha256, image in _small_images(root, paths, workers):
        if not files:
            text = base64.b64encode(image.data).decode("ascii")
            size += len(text)
            inside[sha256] = (image.media_type, text)
            if size > most_bytes:
                for earlier, (media_type, earlier_text) in inside.items():
                    files[earlier] = _write(folder, earlier, SmallImage(media_type, base64.b64decode(earlier_text)))
                inside = {}
        else:
            files[sha256] = _write(folder, sha256, image)
    return StoredImages(inside, files)


def _write(folder: Path, sha256: str, image: SmallImage) -> str:
    path = folder / f"{sha256[:24]}.{ENDINGS[image.media_type]}"
    with atomic(path) as temporary:
        temporary.write_bytes(image.data)
    return f"{folder.name}/{path.name}"


def _small_images(root: Path, paths: Mapping[str, str], workers: int) -> Iterator[tuple[str, SmallImage]]:
    if workers == 1 or len(paths) <= BATCH:
        for sha256, path in paths.items():
            yield sha256, small_image(root, path)
        return
    # Spawned: a fork of a process whose libraries run threads may hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, end_with_parent) as pool:
        roots = [root] * len(paths)
        yield from zip(paths, pool.map(small_image, roots, paths.values(), chunksize=BATCH), strict=True)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
