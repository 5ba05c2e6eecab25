"""Step: the manifest of a local dataset, which is read and never written to."""

import os
from collections.abc import Sequence
from pathlib import Path

from workflow_scripts.cache.folders import Seen, read_seen, write_seen
from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.datasets import LocalDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.manifest import SPLIT_FOLDERS, dataset_stamps, folders_beside, take_inventory, write_manifest

SHOWN = 5
"""Folders that are no part of the dataset, of which as many are named."""


def write_inventory(
    *,
    spec: LocalDataset,
    root: Path,
    manifest: Path,
    identity: str = "",
    seen: Path | None = None,
    without: tuple[Path, ...] = (),
) -> str:
    """Write the manifest of a folder on disk: every image, zip and question file with its size and SHA-256.

    Args:
        spec: the dataset's entry in the configuration
        root: folder that holds training/, validation-public/, …
        manifest: JSON to write
        identity: what the plan calls the state of the folder
        seen: record of sizes, times and hashes for later plans; files that it knows are not read again
        without: folders inside the dataset that are no part of it, as results
    """
    if not root.is_dir():
        raise BadFile(f"{root} is not a directory; give the folder that holds `training/`")
    stamps = dataset_stamps(root, without)
    if not stamps:
        expected = "{training,validation-public,…}/<Modality>/<subset>"
        raise BadFile(f"{root} holds no image, zip or question file below {expected}; give the folder that does")
    last = read_seen(seen) if seen else None
    known: dict[str, str] = {}
    if last is not None:
        known = {path: last.hashes[path] for path, stamp in stamps.items() if last.stamps.get(path) == stamp}
    # Where the folder lies is this machine's affair: the manifest describes what is in it.
    inventory = take_inventory(root, {"source": spec.source}, stamps, known)
    if seen:
        write_seen(seen, Seen(identity, stamps, {entry["path"]: entry["sha256"] for entry in inventory["files"]}))
    write_manifest(manifest, inventory)
    return f"inventory: {len(inventory['files'])} files{_left_out(root, without)}"


def _left_out(root: Path, without: Sequence[Path]) -> str:
    """What of the folder is no part of the dataset, as the end of a sentence."""
    inside = [os.path.relpath(folder.resolve(), root.resolve()) for folder in without if folder.is_dir()]
    folders = sorted({*folders_beside(root), *inside})
    if not folders:
        return ""
    names = ", ".join(folders[:SHOWN]) + (f" and {len(folders) - SHOWN} others" if len(folders) > SHOWN else "")
    return f"; no part of the dataset: {names} (split folders are {', '.join(SPLIT_FOLDERS)})"


if __name__ == "__main__":
    run_step(write_inventory)
