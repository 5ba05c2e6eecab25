"""Questions from a source of the kind `brat`: texts with standoff annotations beside them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workflow_scripts.core.config.sources.brat import BratDataset
from workflow_scripts.core.files import BadFile, is_unicode
from workflow_scripts.core.manifest import stamps_below
from workflow_scripts.core.tasks import tasks
from workflow_scripts.data.brat.standoff import UNUSED, Annotated, read_standoff
from workflow_scripts.data.brat.windows import windows_of
from workflow_scripts.data.sources.record import SourceRecord
from workflow_scripts.tasks.entities.documents import AnnotatedText
from workflow_scripts.tasks.entities.mentions import Entity, Span
from workflow_scripts.tasks.standoff import ANNOTATED


@dataclass(frozen=True)
class _Document:
    """A text of the folder with what is annotated in it, or why it cannot be used."""

    path: str  # below the folder
    folder: str  # split folder
    read: Annotated | None
    fault: tuple[str, str] | None = None
    lines: tuple[str, ...] = ()  # where each line of annotations stands: file and number


def records(spec: BratDataset, root: Path, jobs: int) -> Iterator[SourceRecord]:
    """A record for each window of each text and task, and one for each annotation that cannot be used.

    Raises:
        BadFile: there are no texts, or a task makes no question of annotations.
    """
    if strange := next((name for name in spec.asks if name not in ANNOTATED), None):
        raise BadFile(f"asks: {strange!r} makes no question of annotations; allowed: {', '.join(ANNOTATED)}")
    documents = [_read(spec, root, path, folder) for path, folder in _texts(spec, root)]
    types = {name: _types(spec, name, documents) for name in spec.asks}
    for document in documents:
        yield from _records_of(spec, document, types)
    yield from _without_text(spec, root, {Path(document.path).with_suffix("").as_posix() for document in documents})


def _texts(spec: BratDataset, root: Path) -> list[tuple[str, str]]:
    """Paths of the texts with their split folders, those of `training` first."""
    if not root.is_dir():
        raise BadFile(f"{root} is not a directory; give the folder of the texts")
    by_folder = spec.files if isinstance(spec.files, dict) else {"training": spec.files}
    listed: dict[str, str] = {}
    for folder, patterns in by_folder.items():
        for path in sorted({file.relative_to(root).as_posix() for each in patterns for file in root.glob(each)}):
            if not is_unicode(path):
                raise BadFile(f"{root}: the name of {path!r} is not valid UTF-8; rename it")
            if listed.setdefault(path, folder) != folder:
                raise BadFile(f"{root}/{path} fits the patterns of two split folders; `files` must name it once")
    if not listed:
        raise BadFile(f"{root} holds no text that fits `files`; name the texts there, as in [train/*.txt]")
    return sorted(listed.items(), key=lambda item: (item[1] != "training", item[1], item[0]))


def _read(spec: BratDataset, root: Path, path: str, folder: str) -> _Document:
    """Read a text and its annotations."""
    try:
        text = (root / path).read_bytes().decode("utf-8")
    except (UnicodeDecodeError, OSError) as error:
        return _Document(path, folder, None, ("unreadable_text", f"{path}: {_why(error)}; save it as UTF-8"))
    if not text.strip("\ufeff \t\r\n"):
        return _Document(path, folder, None, ("unreadable_text", f"{path} is empty"))
    files = [(root / path).with_suffix(ending) for ending in spec.annotations]
    present = [file for file in files if file.is_file()]
    if not present:
        return _Document(path, folder, None, ("no_answer", f"{files[0].name} is not there; an empty one says: nothing"))
    lines: list[str] = []
    places: list[str] = []
    for file in present:
        name = file.relative_to(root).as_posix()
        try:
            content = file.read_bytes().decode("utf-8-sig")
        except (UnicodeDecodeError, OSError) as error:
            return _Document(path, folder, None, ("unreadable_text", f"{name}: {_why(error)}; save it as UTF-8"))
        of_file = [line.removesuffix("\r") for line in content.split("\n")]
        lines += of_file
        places += [f"{name} line {number}" for number in range(1, len(of_file) + 1)]
    return _Document(path, folder, read_standoff(text, lines), lines=tuple(places))


def _why(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"no valid UTF-8 at byte {error.start}"
    return f"cannot be read: {getattr(error, 'strerror', error)}"


def _types(spec: BratDataset, task: str, documents: list[_Document]) -> tuple[str, ...]:
    """The types that a task's questions list: those of the entry, else all that are annotated."""
    if task in spec.types:
        return spec.types[task]
    named: set[str] = set()
    for document in documents:
        if (read := document.read) is not None:
            named |= ANNOTATED[task].types_of(AnnotatedText(read.text, read.entities, tuple(read.relations.values())))
    return tuple(sorted(named))


def _records_of(spec: BratDataset, document: _Document, types: dict[str, tuple[str, ...]]) -> Iterator[SourceRecord]:
    read = document.read
    if read is None:
        yield _record(spec, document, document.path, spec.asks[0], "", None, document.fault)
        return
    faults = [(document.lines[fault.line - 1], fault.reason, fault.detail, fault.text) for fault in read.faults]
    whole = AnnotatedText(read.text, read.entities, tuple(read.relations.values()))
    for task in spec.asks:
        if strange := sorted(ANNOTATED[task].types_of(whole) - set(types[task])):
            detail = f"`types` lists no {', '.join(strange)} for {task}: such annotations are left out"
            faults.append((document.path, UNUSED, detail, ""))
    windows = list(windows_of(read.text, read.entities.values(), spec.window))
    window_of = {name: _holding(windows, entity) for name, entity in read.entities.items()}
    for name, relation in read.relations.items():
        if window_of[relation.head] != window_of[relation.tail]:
            detail = f"{relation.head} and {relation.tail} lie in two windows; set a wider `window`"
            faults.append((document.path, UNUSED, detail, f"{name} {relation.type}"))
    for place, reason, detail, line in faults:
        yield _record(spec, document, place, spec.asks[0], line, None, (reason, detail))
    for number, (start, end) in enumerate(windows):
        inside = {name: _moved(each, start) for name, each in read.entities.items() if window_of[name] == number}
        relations = tuple(each for each in read.relations.values() if {each.head, each.tail} <= inside.keys())
        text = AnnotatedText(read.text[start:end], inside, relations)
        place = document.path if len(windows) == 1 else f"{document.path} characters {start} to {end}"
        for task in spec.asks:
            instruction = spec.instructions.get(task, ANNOTATED[task].INSTRUCTION)
            pair = ANNOTATED[task].question_of(text, types[task], instruction)
            if pair is not None:
                yield _record(spec, document, place, task, *pair, None)


def _record(
    spec: BratDataset,
    document: _Document,
    place: str,
    task: str,
    question: str,
    answer: object,
    fault: tuple[str, str] | None,
) -> SourceRecord:
    stem = Path(document.path).with_suffix("").as_posix()
    case = re.search(spec.case, document.path) if spec.case else None
    return SourceRecord(
        folder=document.folder,
        modality=spec.modality,
        subset=spec.subset or "texts",
        place=place,
        task=tasks()[task].spellings[0],
        question=question,
        answer=answer,
        case=(case[1] or stem) if case else stem,
        fault=fault,
    )


def _holding(windows: list[Span], entity: Entity) -> int:
    """The window that holds an entity."""
    return next(number for number, (_, end) in enumerate(windows) if entity.spans[-1][1] <= end)


def _moved(entity: Entity, start: int) -> Entity:
    return entity._replace(spans=tuple((first - start, last - start) for first, last in entity.spans))


def _without_text(spec: BratDataset, root: Path, texts: set[str]) -> Iterator[SourceRecord]:
    """A record for each file of annotations without a text; raises nothing."""
    for path in stamps_below(root, lambda name: name.endswith(spec.annotations)):
        stem = Path(path).with_suffix("").as_posix()
        if stem not in texts:
            file = _Document(path, "training", None, ("unused_annotation", f"no text of `files` is called {stem}"))
            yield _record(spec, file, path, spec.asks[0], "", None, file.fault)
