"""The images of a subset: finding them by the names that rows use, hashing and decoding each once."""

import posixpath
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from workflow_scripts.core.files import sha256_of
from workflow_scripts.core.images import ARCHIVE_FAULTS, BadImage, decode_image, image_bytes, member_path
from workflow_scripts.data.conversion.process_pool import ProcessPool
from workflow_scripts.data.downloading.archives import inner_path

CHUNK = 256
"""Images a worker reads at a time: long enough that handing over costs little, short enough for an even end."""


class Probe(NamedTuple):
    """What one reading of an image tells. `fault` is None where it decodes; sizes are after EXIF's turn."""

    sha256: str
    width: int
    height: int
    fault: str | None = None


@dataclass
class Index:
    """The images of one subset's folder: path below it → path below the root, from folders and zips alike.

    A file of a folder goes before the same name in a zip, so that a half-extracted folder is completed from it.
    """

    paths: dict[str, str] = field(default_factory=dict)
    by_name: dict[str, list[str]] = field(default_factory=dict)
    bad_archives: dict[str, str] = field(default_factory=dict)

    def _add(self, inner: str, path: str) -> None:
        if inner not in self.paths:
            self.paths[inner] = path
            self.by_name.setdefault(posixpath.basename(inner), []).append(inner)

    def find(self, name: str) -> list[str]:
        """Paths below the root that `name` may mean: the exact one, or all of which one is the other's ending."""
        wanted = posixpath.normpath(name.strip().replace("\\", "/"))
        if wanted in self.paths:
            return [self.paths[wanted]]
        near = self.by_name.get(posixpath.basename(wanted), ())
        return [self.paths[inner] for inner in near if inner.endswith(f"/{wanted}") or wanted.endswith(f"/{inner}")]


def index_images(root: Path, subset_folder: str, files: Iterable[str]) -> Index:
    """Index the images below `subset_folder` (`training/Xray/IU_XRay`), given the paths of all its files.

    A member of `imagesTr.zip` that does not stand in a folder `imagesTr` inside is indexed as if it did.
    """
    index = Index()
    archives = []
    for path in files:
        inner = path[len(subset_folder) + 1 :]
        ending = posixpath.splitext(inner)[1].lower()
        if ending == ".zip":
            archives.append(path)
        elif ending != ".json":
            index._add(inner, path)
    for path in archives:
        try:
            with zipfile.ZipFile(root / path) as archive:
                names = archive.namelist()
        except (OSError, *ARCHIVE_FAULTS) as error:
            index.bad_archives[path] = str(error)
            continue
        folder = posixpath.splitext(path[len(subset_folder) + 1 :])[0]
        for member in names:
            if not member.endswith("/"):
                index._add(f"{folder}/{inner_path(Path(path), member)}", member_path(path, member))
    return index


def probe(root: Path, path: str) -> Probe:
    """Read, hash and decode one image."""
    try:
        data = image_bytes(root, path)
    except BadImage as error:
        return Probe("", 0, 0, str(error))
    try:
        image = decode_image(data, path)
    except BadImage as error:
        return Probe(sha256_of(data), 0, 0, str(error))
    return Probe(sha256_of(data), image.width, image.height)


def _probe_chunk(root: Path, paths: Sequence[str]) -> list[Probe]:
    return [probe(root, path) for path in paths]


def probe_all(root: Path, paths: Iterable[str], pool: ProcessPool) -> dict[str, Probe]:
    """Read, hash and decode each of `paths` once."""
    ordered = sorted(set(paths))
    chunks = [ordered[i : i + CHUNK] for i in range(0, len(ordered), CHUNK)]
    probes: dict[str, Probe] = {}
    with tqdm(total=len(ordered), desc="read images", unit="image", mininterval=1, disable=not ordered) as bar:
        for chunk, results in zip(chunks, pool.each(_probe_chunk, [(root, chunk) for chunk in chunks]), strict=True):
            probes.update(zip(chunk, results, strict=True))
            bar.update(len(chunk))
    return probes
