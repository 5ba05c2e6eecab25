"""Images of a table's rows: paths of files, which are linked to, members of zips, or bytes in the table itself."""

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from workflow_scripts.cache.source_files import image_places
from workflow_scripts.core.files import BadFile, is_unicode, sha256_of
from workflow_scripts.core.images import ARCHIVE_FAULTS, BadImage, image_bytes, member_path
from workflow_scripts.core.manifest import is_image_name
from workflow_scripts.data.downloading.archives import inner_path
from workflow_scripts.data.sources.cells import BadCell
from workflow_scripts.data.sources.record import SourceImage
from workflow_scripts.data.sources.table_files import is_missing, list_in

FOLDER = "images"
"""The folder of images that have no file of their own, in a subset's; others are called as below the table's folder."""

DIGITS = 20
"""Hexadecimal digits of an image's SHA-256 that name one which has no file of its own."""

_SIGNATURES = (
    (b"\x89PNG", "png"),
    (b"\xff\xd8", "jpg"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\0", "tif"),
    (b"MM\0*", "tif"),
    (b"\0\0\0\x0cjP", "jp2"),
    (b"RIFF", "webp"),
    (b"P", "pnm"),
)
"""How files of the formats that are read begin, and the ending that they get."""


class ImagePlaces:
    """Where the images of a table are: folders and zips, in the order in which they are looked through."""

    def __init__(self, root: Path, patterns: Sequence[str], counts: Callable[[str], bool] = is_image_name) -> None:
        """Find the folders and zips.

        Args:
            root: the table, or the folder that holds it.
            patterns: of the folders and zips.
            counts: whether a file of this name is taken.

        Raises:
            BadFile: none is there, or a zip is damaged.
        """
        base = root if root.is_dir() else root.parent
        self._counts = counts
        self._base = os.path.abspath(base)  # noqa: PTH100 (links stay links)
        self._folders: list[str] = []
        self._zips: list[tuple[Path, dict[str, str]]] = []
        self._files: dict[str, SourceImage] = {}  # by what a cell says: many rows are of one image
        for place in image_places(patterns, base):
            if place.is_dir():
                self._folders.append(os.path.abspath(place))  # noqa: PTH100
            else:
                self._zips.append((place, _members(place)))
        if not self._folders and not self._zips:
            raise BadFile(f"{base}: there is no {' or '.join(patterns)}, where `images_in` says that the images are")

    def images_of(self, cell: object, column: str) -> list[SourceImage]:
        """The images of a cell: a path, bytes, `{bytes, path}` as `datasets` writes it, or a list of these.

        Raises:
            BadCell: it is none of these, or a path leaves its folder.
        """
        value = list_in(cell)
        if isinstance(value, str):
            return [] if is_missing(value) else [self._of_path(value)]
        if isinstance(value, list):
            return [image for item in value for image in self.images_of(item, column)]
        if isinstance(value, bytes):
            return [of_bytes(value)]
        if isinstance(value, dict) and isinstance(value.get("bytes"), bytes):
            return [of_bytes(value["bytes"])]
        if isinstance(value, dict) and isinstance(value.get("path"), str):
            return [self._of_path(value["path"])]
        if not is_missing(value) and not (isinstance(value, dict) and not any(value.values())):
            raise BadCell("no_image_named", f"{column} holds {type(value).__name__}, expected a path or an image")
        return []

    def _of_path(self, written: str) -> SourceImage:
        """The image that a path names; one that is not there has neither file nor bytes, only a name."""
        if (image := self._files.get(written)) is not None:
            return image
        path = os.path.normpath(written.strip().replace("\\", "/"))
        for folder in self._folders:
            if path.startswith(f"{folder}/"):  # an absolute path into one of the folders
                path = path.removeprefix(f"{folder}/")
        if path.startswith(("/", "../")) or path == "..":
            raise BadCell("missing_image", f"{written[:200]!r} leaves the folder of the images; nothing is read there")
        if not is_unicode(path) or "\0" in path or not self._counts(path):
            return SourceImage(path)
        for folder in self._folders:
            file = f"{folder}/{path}"
            try:
                there = os.path.isfile(file)  # noqa: PTH113 (a third of the time, once an image)
            except ValueError:
                there = False
            if there:
                inside = file.removeprefix(f"{self._base}/")
                image = self._files[written] = SourceImage(inside if inside != file else path, file)
                return image
        for archive, members in self._zips:
            if path in members:
                return SourceImage(path, data=_member(archive, members[path]))
        return SourceImage(path, sought=f"{self._folders[0]}/{path}" if self._folders else "")


def of_bytes(data: bytes) -> SourceImage:
    """An image that is in the table: its name follows from its bytes, so that equal images are one."""
    sha256 = sha256_of(data)
    ending = next((ending for start, ending in _SIGNATURES if data.startswith(start)), "png")
    return SourceImage(f"{FOLDER}/{sha256[:DIGITS]}.{ending}", data=data, sha256=sha256)


def _members(archive: Path) -> dict[str, str]:
    """The members of a zip by their path below the folder that it would be unpacked to."""
    try:
        with zipfile.ZipFile(archive) as opened:
            names = [info.filename for info in opened.infolist() if not info.is_dir()]
    except (OSError, *ARCHIVE_FAULTS) as error:
        raise BadFile(f"{archive} is not a readable zip ({error}); get it again") from None
    return {inner_path(archive, name): name for name in names}


def _member(archive: Path, member: str) -> bytes:
    try:
        return image_bytes(archive.parent, member_path(archive.name, member))
    except BadImage as error:
        raise BadCell("unreadable_image", str(error)) from None
