"""Lays the records of a source out as a FLARE-shaped folder, which the conversion then reads like any other.

Beside FLARE's fields a question has, where the source says so: `Case`, `Groups`, `Roles` of its images, `Place` in the
source, and `Fault`, with which it goes to quarantine.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from workflow_scripts.core.files import BadFile
from workflow_scripts.core.manifest import Manifest, take_inventory
from workflow_scripts.data.sources.record import SourceImage, SourceRecord

QUESTIONS = "questions.json"
"""Name of the one question file in each subset's folder."""


def write_folder(
    records: Iterable[SourceRecord], out: Path, source: Mapping[str, object], known: Mapping[Path, str]
) -> Manifest:
    """Write `records` below `out`, which is emptied before, and describe its files.

    Args:
        records: read once, in their order.
        out: root of the split folders to write.
        source: what the manifest says of the source.
        known: SHA-256 of files that images link to, where it was computed already.

    Raises:
        BadFile: there is no record, or two images of one subset have one name and other content.
    """
    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    questions: dict[Path, list[dict[str, object]]] = {}
    written: dict[Path, SourceImage] = {}
    hashes: dict[str, str] = {}
    for record in records:
        folder = partial / record.folder / record.modality / record.subset
        for image in record.images:
            target = folder / image.name
            if (earlier := written.get(target)) is None:
                written[target] = image
                _write_image(target, image)
                if image.file is not None and image.file in known:
                    hashes[target.relative_to(partial).as_posix()] = known[image.file]
            elif (earlier.file, earlier.data) != (image.file, image.data):
                raise BadFile(f"{record.place}: another image of {record.subset} is called {image.name} too")
        questions.setdefault(folder, []).append(_question(record))
    if not questions:
        raise BadFile(f"{out}: the source holds no record")
    for folder, listed in questions.items():
        folder.mkdir(parents=True, exist_ok=True)
        lines = ",\n".join(json.dumps(question, ensure_ascii=False) for question in listed)
        (folder / QUESTIONS).write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    partial.replace(out)
    return take_inventory(out, dict(source), known=hashes)


def _write_image(target: Path, image: SourceImage) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if image.data is not None:
        target.write_bytes(image.data)
    elif image.file is not None:
        target.symlink_to(image.file.resolve())


def _question(record: SourceRecord) -> dict[str, object]:
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
    if any(image.role for image in record.images):
        question["Roles"] = [image.role for image in record.images]
    if record.fault:
        question["Fault"] = list(record.fault)
    return question
