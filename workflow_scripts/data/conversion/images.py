"""The images of a subset: finding them by the names that rows use, hashing and decoding each once."""

import posixpath
import re
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from tqdm import tqdm

from workflow_scripts.core.images import ARCHIVE_FAULTS, Deep, member_path
from workflow_scripts.core.manifest import IMAGE_ENDINGS, QUESTION_ENDINGS, is_image_name
from workflow_scripts.data.conversion.probes import packed_probes
from workflow_scripts.data.conversion.process_pool import ProcessPool
from workflow_scripts.data.downloading.archives import inner_path

CHUNK = 256
"""Images a worker reads at a time: long enough that handing over costs little, short enough for an even end."""

HINTS = 3
"""Near names that are shown of a name that no image has."""

_STEPS: Mapping[str, Callable[[str], str]] = {
    "percent escapes": unquote,
    "letter case": str.casefold,
    "underscores, hyphens or spaces": lambda text: re.sub(r"[\s_-]+", "-", text),
    "ending": lambda text: posixpath.splitext(text)[0] if is_image_name(text) else text,
}
"""In what a name and a file's may differ and still be meant, and what takes the difference away."""


@dataclass
class Index:
    """The images of one subset's folder: path below it → path below the root, from folders and zips alike.

    A file of a folder goes before the same name in a zip, so that a half-extracted folder is completed from it.
    """

    paths: dict[str, str] = field(default_factory=dict)
    by_name: dict[str, list[str]] = field(default_factory=dict)
    bad_archives: dict[str, str] = field(default_factory=dict)
    zipped_questions: list[str] = field(default_factory=list)  # members whose names are question files', below the root
    _by_folded: dict[str, list[str]] | None = None

    def _add(self, inner: str, path: str) -> None:
        if inner not in self.paths:
            self.paths[inner] = path
            self.by_name.setdefault(_composed(inner.rpartition("/")[2]), []).append(inner)

    def find(self, name: str, exactly: bool = False) -> list[str]:
        """Paths below the root that `name` may mean: the exact one, or all of which one is the other's ending.

        Names that differ in Unicode's composition alone are equal.

        Args:
            name: as the row writes it.
            exactly: whether the exact one alone may be meant.
        """
        if name in self.paths:
            return [self.paths[name]]
        wanted = posixpath.normpath(name.strip().replace("\\", "/"))
        if wanted in self.paths:
            return [self.paths[wanted]]
        wanted = _composed(wanted)
        near = [(inner, _composed(inner)) for inner in self.by_name.get(posixpath.basename(wanted), ())]
        exact = [self.paths[inner] for inner, composed in near if composed == wanted]
        if exactly:
            return exact
        return exact or [
            self.paths[inner]
            for inner, composed in near
            if composed.endswith(f"/{wanted}") or wanted.endswith(f"/{composed}")
        ]

    def near(self, name: str) -> str:
        """Images that are nearly called `name`, and in what they differ, as the end of a sentence; else empty."""
        wanted = _composed(posixpath.normpath(name.strip().replace("\\", "/")))
        if self._by_folded is None:
            self._by_folded = {}
            for basename, inners in self.by_name.items():
                self._by_folded.setdefault(_folded(basename), []).extend(inners)
        inners = self._by_folded.get(_folded(posixpath.basename(wanted)), [])
        shared = {inner: _shared_parts(wanted, inner) for inner in inners}
        most = max(shared.values(), default=0)
        best = [inner for inner in inners if shared[inner] == most]
        if not best:
            ending = posixpath.splitext(wanted)[1]
            known = is_image_name(wanted) or not ending
            return "" if known else f"; {ending} is none of the endings of images that are read ({_endings()})"
        shown = [f"{inner} ({_difference(wanted, inner)})" for inner in best[:HINTS]]
        return f"; near: {' or '.join(shown)}" + (f" or {len(best) - HINTS} others" if len(best) > HINTS else "")


def _endings() -> str:
    return ", ".join(IMAGE_ENDINGS)


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _folded(text: str, without: str | None = None) -> str:
    """`text` with all differences of `_STEPS` taken away, or all but one."""
    for difference, step in _STEPS.items():
        if difference != without:
            text = step(text)
    return text


def _shared_parts(one: str, other: str) -> int:
    """How many parts of two paths agree from their ends, letter case and the like aside."""
    count = 0
    for a, b in zip(reversed(one.split("/")), reversed(other.split("/")), strict=False):
        if _folded(_composed(a)) != _folded(_composed(b)):
            break
        count += 1
    return count


def _difference(wanted: str, inner: str) -> str:
    """In what the name of a row and the path of an image differ."""
    parts = min(wanted.count("/"), inner.count("/")) + 1
    a, b = ("/".join(_composed(path).split("/")[-parts:]) for path in (wanted, inner))
    if _folded(a) != _folded(b):
        return "another folder"
    needed = [step for step in _STEPS if _folded(a, step) != _folded(b, step)]
    return "other " + (", ".join(needed) or "letter case")  # an ending in other letters: either step takes it away


def index_images(root: Path, subset_folder: str, files: Iterable[str]) -> Index:
    """Index the images below `subset_folder` (`training/Xray/IU_XRay`), given the paths of all its files.

    A member of `imagesTr.zip` that does not stand in a folder `imagesTr` inside is indexed as if it did.
    """
    index = Index()
    archives = []
    for path in files:
        if path.lower().endswith(".zip"):
            archives.append(path)
        elif is_image_name(path):
            index._add(path[len(subset_folder) + 1 :], path)
    for path in archives:
        try:
            with zipfile.ZipFile(root / path) as archive:
                members = archive.infolist()
        except (OSError, *ARCHIVE_FAULTS) as error:
            index.bad_archives[path] = str(error)
            continue
        folder = posixpath.splitext(path[len(subset_folder) + 1 :])[0]
        for info in members:
            member, name = info.filename, _name_of(info)
            if any(part == "__MACOSX" or part.startswith(".") for part in name.split("/")):
                continue
            if is_image_name(name):
                index._add(f"{folder}/{inner_path(Path(path), name)}", member_path(path, member))
            elif name.lower().endswith(QUESTION_ENDINGS):
                index.zipped_questions.append(member_path(path, member))
    return index


def _name_of(info: zipfile.ZipInfo) -> str:
    """A member's path with slashes; many tools write UTF-8 and do not say so."""
    name = info.filename
    if not name.isascii() and not info.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return name.replace("\\", "/")


class Readings:
    """Images that are read, hashed and decoded once each, by the processes of a pool as soon as they are added."""

    def __init__(self, root: Path, deep: Deep, pool: ProcessPool) -> None:
        self.images = 0
        self._root, self._deep, self._pool = root, deep, pool
        self._begun: list[tuple[str, int, Callable[[], str]]] = []

    def add(self, folder: str, paths: Sequence[str], hashes: Sequence[str]) -> None:
        """Let images be read, whose files have these hashes; see `packed_probes`."""
        for i in range(0, len(paths), CHUNK):
            some, known = [*paths[i : i + CHUNK]], [*hashes[i : i + CHUNK]]
            self._begun.append(
                (folder, len(some), self._pool.submit(packed_probes, self._root, some, known, self._deep))
            )
        self.images += len(paths)

    def results(self) -> dict[str, list[str]]:
        """The packed probes of each folder, once all of them are there.

        Raises:
            BadFile: an image has another hash.
        """
        packed: dict[str, list[str]] = {}
        with tqdm(total=self.images, desc="read images", unit="image", mininterval=1, disable=not self.images) as bar:
            for folder, count, result in self._begun:
                packed.setdefault(folder, []).append(result())
                bar.update(count)
        return packed
