"""The record of a model on disk: what it is, where its files lie, and their hashes.

`models/{name}.json` is what other rules depend on; the folder beside it holds the files.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from workflow_scripts.core.config.section import canonical_json
from workflow_scripts.core.files import BadFile, read_json, sha256_of_file, write_json


class ModelRecord(BaseModel):
    """One model, ready to load."""

    model_config = ConfigDict(frozen=True)

    name: str
    family: str
    folder: str  # relative to the record where the workflow made it; absolute for a snapshot of the hub
    revision: str  # the hub's commit, or a hash over the files
    files: dict[str, str]  # file name → sha256

    @property
    def content(self) -> str:
        """What the model is, wherever it lies and whatever it is called: canonical JSON."""
        return canonical_json(self.model_dump(include={"family", "revision", "files"}))


def write_record(path: Path, name: str, family: str, folder: Path, revision: str | None) -> ModelRecord:
    """Hash the files of `folder` and write the record to `path`."""
    files = {
        str(file.relative_to(folder)): sha256_of_file(file) for file in sorted(folder.rglob("*")) if file.is_file()
    }
    inside = folder.parent.resolve() == path.parent.resolve()
    record = ModelRecord(
        name=name,
        family=family,
        folder=folder.name if inside else str(folder.resolve()),
        revision=revision or files["model.safetensors"][:40],
        files=files,
    )
    write_json(path, record.model_dump())
    return record


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
