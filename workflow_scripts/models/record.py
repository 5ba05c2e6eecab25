"""The record of a model on disk: what it is, where its files lie, and their hashes.

`models/{name}.json` is what other rules depend on; `models/{name}.seen.json` beside it says at which sizes and times
the files were hashed, so that a job sees in a moment whether they are still those of the record.
"""

import json
from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from workflow_scripts.cache.folders import (
    Seen,
    changed_files,
    identity_of,
    note_times,
    read_seen,
    write_seen,
)
from workflow_scripts.core.command import Refused
from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import BadFile, read_json, sha256_of, sha256_of_file, write_json
from workflow_scripts.core.manifest import stamps_below

READ = (".json", ".safetensors", ".jinja", ".model", ".txt")
"""Endings of the files that a loader reads; the record lists these and no others."""

PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")

ADAPTER = "adapter"
"""What the record of a published adapter has in the place of a family."""

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
"""All that an adapter is; whatever lies beside them is not read."""

FULL_WEIGHTS = "weights.safetensors"
"""In a folder of weights that were trained in full: the tensors, by their names in memory, in float32."""

FULL_RECORD = "weights.json"
"""Beside them: which projections they are, and the name and revision of the base that they replace tensors of."""


class ModelRecord(BaseModel):
    """One model, ready to load."""

    model_config = ConfigDict(frozen=True)

    name: str
    family: str
    folder: str  # relative to the record where the workflow wrote it; absolute for a snapshot of the hub
    revision: str  # the hub's commit, or a hash over the files
    files: dict[str, str]  # file name → sha256
    checkpoint: str | None = None  # the hub's repository; None for a local folder
    image_size: int | None = None  # pixels of a side that images are resized to first; None leaves them as they are
    image_pad: bool = False  # whether they are padded to a square before
    vision_fp8: bool = False  # whether stored features are of a vision tower with products in 8-bit floating point

    @property
    def content(self) -> str:
        """What the model is and sees, wherever it lies and whatever it is called: canonical JSON.

        What is done to images, and how the tower computes, is part of it, and so of every key: of features, adapters
        and answers.
        """
        named = {"family", "revision", "files", "image_size", "image_pad", "vision_fp8"}
        return canonical_json(self.model_dump(include=named, exclude_defaults=True))

    @property
    def public_name(self) -> str:
        """What others call the model: the hub's repository; a local one has the configuration's name alone."""
        return self.checkpoint or self.name


def write_record(
    path: Path,
    name: str,
    family: str,
    folder: Path,
    revision: str | None,
    identity: str = "",
    *,
    checkpoint: str | None = None,
    image_size: int | None = None,
    image_pad: bool = False,
    vision_fp8: bool = False,
) -> ModelRecord:
    """Hash the files of `folder` and write the record to `path`.

    Args:
        revision: of the hub; None takes a hash over all files.
        identity: what the plan calls the state of a local checkpoint, see `checkpoint_identity`.
        checkpoint: the hub's repository that the folder is a snapshot of; None for a local folder.
        image_size: pixels of a side that images are resized to first.
        image_pad: whether they are padded to a square before.
        vision_fp8: whether stored features are of a vision tower with products in 8-bit floating point.

    Raises:
        Refused: the folder holds no safetensors weights, or a part of them is missing.
    """
    stamps = stamps_below(folder, _reading(family))
    if not any(file.endswith(".safetensors") for file in stamps):
        raise Refused(_without_weights(folder))
    if absent := _absent_shards(folder, stamps):
        raise Refused(f"{folder} lacks {', '.join(absent[:3])} of its weights: copy or download the checkpoint whole")
    files = {file: sha256_of_file(folder / file) for file in stamps}
    inside = folder.parent.resolve() == path.parent.resolve()
    record = ModelRecord(
        name=name,
        family=family,
        folder=folder.name if inside else str(folder.resolve()),
        revision=revision or sha256_of(canonical_json(files).encode())[:40],
        files=files,
        checkpoint=checkpoint,
        image_size=image_size,
        image_pad=image_pad,
        vision_fp8=vision_fp8,
    )
    write_seen(seen_path(path), Seen(identity, stamps, files))
    write_json(path, record.model_dump())
    return record


def _absent_shards(folder: Path, files: Container[str]) -> list[str]:
    """Files of weights that an index in `folder` names and that are not there, sorted.

    Raises:
        BadFile: the index cannot be read.
    """
    absent: set[str] = set()
    for index in folder.glob("*.safetensors.index.json"):
        content = read_json(index)
        places = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(places, dict):
            raise BadFile(f"{index} is not an index of weights; copy or download the checkpoint whole")
        absent |= {str(name) for name in places.values() if name not in files}
    return sorted(absent)


def _without_weights(folder: Path) -> str:
    pickles = sorted(file.name for pattern in PICKLES for file in folder.glob(pattern))
    if not pickles:
        return f"{folder} holds no weights (*.safetensors); give the folder of a whole checkpoint"
    return (
        f"{folder} holds its weights as pickles alone ({pickles[0]}), which run what they hold when they are loaded: "
        "where you trust their source, convert them (load the checkpoint with transformers in an environment of its "
        'own and call `model.save_pretrained("NEW")`, which writes safetensors), and give the new folder'
    )


def seen_path(record: Path) -> Path:
    """Where the sizes and times of a record's files stand."""
    return record.with_suffix(".seen.json")


def checkpoint_identity(checkpoint: str, record: Path, family: str = "") -> str:
    """For a plan: text that changes when the bytes of a local checkpoint do; empty for one of the hub.

    Only files whose size or times differ from those that the record saw are read.

    Args:
        checkpoint: repository of the hub, or a folder.
        record: where the record is, or will be.
        family: of the model, or `adapter`: which files count.
    """
    folder = Path(checkpoint).expanduser()
    return identity_of(folder, seen_path(record), _reading(family)) if folder.is_dir() else ""


def read_record(path: Path) -> tuple[ModelRecord, Path]:
    """The record at `path`, and the model's folder.

    Raises:
        BadFile: the record is missing, or the folder it names has gone.
    """
    record = ModelRecord.model_validate(read_json(path))
    folder = path.parent / record.folder
    if not folder.is_dir():
        raise BadFile(f"{path} points at {folder}, which is missing; delete {path} and run again")
    return record, folder


def verify_files(path: Path) -> None:
    """Check that the model's files are those of the record at `path`: by size and times, by bytes where those differ.

    Raises:
        BadFile: a file was changed, added or removed since.
    """
    record, folder = read_record(path)
    stamps = stamps_below(folder, _reading(record.family))
    seen = read_seen(seen_path(path)) or Seen("", {}, {})
    seen = Seen(seen.identity, seen.stamps if seen.hashes == record.files else {}, record.files)
    if stamps == seen.stamps:
        return
    if changes := changed_files(folder, seen, stamps):
        name, sha256 = next(iter(changes.items()))
        change = "was removed" if sha256 is None else "was changed" if name in record.files else "was added"
        raise BadFile(f"{folder / name} {change} since {path} was written: delete {path} and run again")
    note_times(seen_path(path), seen, stamps)


def is_full(folder: Path) -> bool:
    """Whether a folder of tuned weights holds some that were trained in full, and no adapter."""
    return (folder / FULL_WEIGHTS).is_file()


def read_full_record(folder: Path) -> dict[str, Any]:
    """What a folder of weights that were trained in full says of them.

    Raises:
        BadFile: the record is missing or damaged.
    """
    record = read_json(folder / FULL_RECORD)
    if not isinstance(record, dict) or "weights" not in record:
        raise BadFile(f"{folder / FULL_RECORD} is not a record of weights; run the training of this system again")
    return record


def adapter_content(folder: Path) -> dict[str, Any]:
    """What tuned weights are, wherever they lie: the hash of the file, and settings without the base's place.

    Raises:
        BadFile: the adapter is missing or damaged.
    """
    if is_full(folder):
        trained = {"full": read_full_record(folder)["weights"]}
        return {"weights": sha256_of_file(folder / FULL_WEIGHTS), "settings": trained}
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        raise BadFile(f"{folder} holds no {weights.name}; run the training of this system again")
    settings = read_json(folder / "adapter_config.json")
    if not isinstance(settings, dict):
        raise BadFile(f"{folder / 'adapter_config.json'} is not an adapter's settings; delete it and run again")
    settings = {key: value for key, value in settings.items() if key not in ("base_model_name_or_path", "revision")}
    # PEFT writes sets as lists in any order.
    settings = {
        key: sorted(value, key=json.dumps) if isinstance(value, list) else value for key, value in settings.items()
    }
    return {"weights": sha256_of_file(weights), "settings": settings}


def _reading(family: str) -> Callable[[str], bool]:
    """Whether a loader reads a file of this name: of an adapter, its two; of a model, those of the known endings."""
    return ADAPTER_FILES.__contains__ if family == ADAPTER else lambda name: name.endswith(READ)
