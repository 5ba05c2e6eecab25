"""Step: take the toy model that ships with the workflow, after checking its bytes.

Its training gives other bits on another machine; the weights in the repository give the same base model everywhere.
"""

import shutil
from importlib.metadata import version
from pathlib import Path

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import BadFile, read_json, sha256_of_file, write_json
from workflow_scripts.models.record import write_record

SHIPPED = Path(__file__).parent / "toy_model"
ORIGIN = Path(__file__).parent / "toy_model.json"
"""Beside the folder: the command and settings that made its files, and their SHA-256."""

LIBRARIES = ("torch", "transformers", "tokenizers", "numpy")


def write_origin(folder: Path, spec: dict) -> None:
    """Write where the files of `folder` come from, beside it."""
    origin = {
        "command": "python -m workflow_scripts.synthetic.pretraining",
        "spec": spec,
        "libraries": {name: version(name) for name in LIBRARIES},
        "licence": "Apache-2.0, as the workflow; no data but the workflow's own drawings went in",
        "files": {path.name: sha256_of_file(path) for path in sorted(folder.iterdir())},
    }
    write_json(folder.with_suffix(".json"), origin)


def write_model(*, record: Path, shipped: Path = SHIPPED) -> None:
    """Take the toy model that ships with the workflow, after checking its bytes.

    Args:
        record: JSON file to write, last; the model's folder lies beside it
        shipped: folder of the shipped model
    """
    origin = read_json(shipped.with_suffix(".json"))
    if not isinstance(origin, dict):
        raise BadFile(f"{shipped.with_suffix('.json')} is not a record of a model; restore it by git")
    folder = record.with_suffix("")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, digest in origin["files"].items():
        source = shipped / name
        if not source.is_file() or sha256_of_file(source) != digest:
            raise BadFile(f"{source} is not the file that was shipped; restore it: git checkout -- {shipped}")
        shutil.copyfile(source, folder / name)
    write_record(record, record.stem, "gemma3", folder, None)


if __name__ == "__main__":
    run_step(write_model)
