"""Lays the records of a source out as a FLARE-shaped folder, which the conversion then reads like any other.

Beside FLARE's fields a question has, where the source says so: `Case`, `Groups`, `Rubric`, `Roles` of its images,
`Place` in the source, and `Fault`, with which it goes to quarantine.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from workflow_scripts.cache.source_files import MISSING
from workflow_scripts.core.files import BadFile, is_unicode, sha256_of, sha256_of_file
from workflow_scripts.core.manifest import FileEntry, Manifest, Stamp
from workflow_scripts.data.sources.record import SourceImage, SourceRecord

QUESTIONS_A_FILE = 50_000
"""Questions of a subset that one file holds; more go to `questions_2.json` and so on."""

_ENCODER = json.JSONEncoder(ensure_ascii=False)

READ_AT_ONCE = 8 * 2**20
"""Bytes up to which a file is read at once."""

HASHED_AT_ONCE = 256
"""Files that a thread hashes at a time."""


@dataclass
class Prepared:
    """A folder that was written, and the files of the source that it shows."""

    manifest: Manifest
    records: int = 0
    stamps: dict[str, Stamp] = field(default_factory=dict)  # of files that are linked to, or were sought and not there
    hashes: dict[str, str] = field(default_factory=dict)  # SHA-256 of files that are linked to


def write_folder(
    records: Iterable[SourceRecord], out: Path, source: Mapping[str, object], jobs: int = 1, *, private: bool = False
) -> Prepared:
    """Write `records` below `out`, which is emptied before, and describe its files.

    Args:
        records: read once, in their order.
        out: root of the split folders to write.
        source: what the manifest says of the source.
        jobs: threads that hash files.
        private: whether no folder of the source may be shown as a whole, for what else comes to lie in it.

    Raises:
        BadFile: there is no record, two images of one subset have one name and other content, or a name leaves `out`.
    """
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    folders: dict[str, _Folder] = {}
    prepared = Prepared({"source": dict(source), "files": []})
    for record in records:
        names = (record.folder, record.modality, record.subset)
        if any("/" in name or name in ("", ".", "..") for name in names):
            raise BadFile(f"{record.place}: {'/'.join(names)} is no folder of a subset; correct modality and subset")
        inside = "/".join(names)
        if (folder := folders.get(inside)) is None:
            folder = folders[inside] = _Folder(partial, inside)
        for image in record.images:
            folder.add(image, record.place, prepared.manifest["files"])
            if image.sought:
                prepared.stamps[image.sought] = MISSING
        folder.questions.append(_question(record))
        prepared.records += 1
    if not folders:
        raise BadFile(f"{out}: the source holds no record")
    linked: dict[str, str] = {}  # path in the new folder → file
    for inside, folder in folders.items():
        folder.write_links(whole=not private)
        linked |= {f"{inside}/{name}": file for name, file in folder.links.items()}
    for path, (file, stamp, sha256) in zip(linked, _read(list(linked.values()), jobs), strict=True):
        prepared.stamps[file], prepared.hashes[file] = stamp, sha256
        prepared.manifest["files"].append({"path": path, "size": stamp.size, "sha256": sha256})
    for folder in folders.values():
        prepared.manifest["files"] += folder.write_questions()
    prepared.manifest["files"].sort(key=lambda entry: entry["path"])
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)
    return prepared


class _Folder:
    """The folder of one subset: its questions, and which images are there already."""

    def __init__(self, root: Path, inside: str) -> None:
        self._place, self._inside = os.path.normpath(f"{root}/{inside}"), inside
        self._written: dict[str, str] = {}  # by name: the hash of the bytes
        self._folders: set[str] = set()  # folders below this one
        self.links: dict[str, str] = {}  # by name: the file
        self.questions: list[str] = []
        os.makedirs(self._place)  # noqa: PTH103

    def add(self, image: SourceImage, place: str, files: list[FileEntry]) -> None:
        """Note the file of an image for `write_links`, or write its bytes and note them in `files`, unless it is there.

        Raises:
            BadFile: another image has the name, or the name leaves the folder.
        """
        name = image.name
        if image.file is not None:
            file = image.file if image.file[0] == "/" else os.path.abspath(image.file)  # noqa: PTH100 (once an image)
            if (earlier := self.links.get(name)) == file:
                return
            if earlier is not None or name in self._written:
                raise BadFile(f"{place}: another image of {self._inside} is called {name} too; rename one")
            self._check_inside(name, place)
            self.links[name] = file
        elif image.data is not None:
            sha256 = image.sha256 or sha256_of(image.data)
            if (earlier := self._written.get(name)) == sha256:
                return
            if earlier is not None or name in self.links:
                raise BadFile(f"{place}: another image of {self._inside} is called {name} too; rename one")
            self._check_inside(name, place)
            self._written[name] = sha256
            self._make(name.rpartition("/")[0])
            Path(f"{self._place}/{name}").write_bytes(image.data)
            files.append({"path": f"{self._inside}/{name}", "size": len(image.data), "sha256": sha256})

    def _check_inside(self, name: str, place: str) -> None:
        if not os.path.normpath(f"{self._place}/{name}").startswith(f"{self._place}/"):
            raise BadFile(f"{place}: {name!r} leaves the folder of {self._inside}; correct the image's name")

    def _make(self, below: str) -> None:
        if below not in self._folders:
            os.makedirs(f"{self._place}/{below}", exist_ok=True)  # noqa: PTH103
            self._folders.add(below)

    def write_links(self, *, whole: bool) -> None:
        """Link to the files of images: with `whole`, to their folder where it holds these images and nothing else.

        Links to tens of thousands of files take seconds, and half a minute where as many were deleted just before.
        """
        by_folder: dict[str, list[str]] = {}
        for name in self.links:
            by_folder.setdefault(name.rpartition("/")[0], []).append(name)
        mixed = {above for name in (*self._written, *by_folder) for above in _above(name)}
        for below, names in by_folder.items():
            place = self._same_folder(names) if whole and below not in mixed else None
            if below and place is not None:
                self._make(below.rpartition("/")[0])
                os.symlink(place, f"{self._place}/{below}")  # noqa: PTH211 (as below)
                continue
            self._make(below)
            for name in names:
                os.symlink(self.links[name], f"{self._place}/{name}")  # noqa: PTH211 (once an image)

    def _same_folder(self, names: Sequence[str]) -> str | None:
        """The folder in which the images of these names are called alike, if nothing else is in it."""
        place = self.links[names[0]].rpartition("/")[0]
        called = {name.rpartition("/")[2] for name in names}
        if any(self.links[name] != f"{place}/{name.rpartition('/')[2]}" for name in names):
            return None
        try:
            return place if called == set(os.listdir(place)) else None  # noqa: PTH208 (names alone, of 50,000)
        except PermissionError:  # files of a folder may be read that shows no list of them
            return None

    def write_questions(self) -> Iterator[FileEntry]:
        """Write the question files; yields their entries of the manifest."""
        for number, start in enumerate(range(0, len(self.questions), QUESTIONS_A_FILE), start=1):
            name = "questions.json" if number == 1 else f"questions_{number}.json"
            lines = ",\n".join(self.questions[start : start + QUESTIONS_A_FILE])
            data = f"[\n{lines}\n]\n".encode()
            Path(f"{self._place}/{name}").write_bytes(data)
            yield {"path": f"{self._inside}/{name}", "size": len(data), "sha256": sha256_of(data)}


def _above(path: str) -> list[str]:
    """The folders that a relative path lies in, the outermost first."""
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _read(files: list[str], jobs: int) -> Iterator[tuple[str, Stamp, str]]:
    """Stamp and SHA-256 of each file, in their order."""
    chunks = [files[start : start + HASHED_AT_ONCE] for start in range(0, len(files), HASHED_AT_ONCE)]
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        for chunk in pool.map(lambda chunk: [(file, *_look(file)) for file in chunk], chunks):
            yield from chunk


def _look(file: str) -> tuple[Stamp, str]:
    """Stamp, taken before the file is read, and SHA-256; a file of usual size is read at once."""
    with open(file, "rb", buffering=0) as stream:  # noqa: PTH123 (a third faster, once an image)
        stamp = Stamp.of(os.fstat(stream.fileno()))
        return stamp, sha256_of(stream.read()) if stamp.size <= READ_AT_ONCE else sha256_of_file(Path(file))


def _question(record: SourceRecord) -> str:
    """JSON of a question; what is not valid Unicode is escaped, for the conversion to find."""
    names = [image.name for image in record.images]
    question: dict[str, object] = {
        "TaskType": record.task,
        "ImageName": names[0] if len(names) == 1 else names,
        "Question": record.question,
        "Answer": record.answer,
        "Place": record.place,
    }
    if record.case:
        question["Case"] = record.case
    if record.groups:
        question["Groups"] = dict(sorted(record.groups.items()))
    if record.rubric is not None:
        question["Rubric"] = record.rubric
    if any(image.role for image in record.images):
        question["Roles"] = [image.role for image in record.images]
    if record.fault:
        question["Fault"] = list(record.fault)
    text = _ENCODER.encode(question)
    return text if is_unicode(text) else json.dumps(question)
