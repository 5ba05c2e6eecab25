"""Step: the manifest of a local dataset, which is read and never written to."""

from pathlib import Path

from workflow_scripts.cache.folders import Seen, read_seen, write_seen
from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.datasets import LocalDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.manifest import stamps_below, take_inventory, write_manifest


def write_inventory(
    *, spec: LocalDataset, root: Path, manifest: Path, identity: str = "", seen: Path | None = None
) -> str:
    """Write the manifest of a folder on disk: every file with its size and SHA-256.

    Args:
        spec: the dataset's entry in the configuration
        root: folder that holds training/, validation-public/, …
        manifest: JSON to write
        identity: what the plan calls the state of the folder
        seen: record of sizes, times and hashes for later plans; files that it knows are not read again
    """
    if not root.is_dir():
        raise BadFile(f"{root} is not a directory; give the folder that holds `training/`")
    stamps = stamps_below(root)
    if not stamps:
        raise BadFile(f"{root} holds no files; give the folder that holds `training/`")
    last = read_seen(seen) if seen else None
    known: dict[str, str] = {}
    if last is not None:
        known = {path: last.hashes[path] for path, stamp in stamps.items() if last.stamps.get(path) == stamp}
    # Where the folder lies is this machine's affair: the manifest describes what is in it.
    inventory = take_inventory(root, {"source": spec.source}, stamps, known)
    if seen:
        write_seen(seen, Seen(identity, stamps, {entry["path"]: entry["sha256"] for entry in inventory["files"]}))
    write_manifest(manifest, inventory)
    return f"inventory: {len(inventory['files'])} files"


if __name__ == "__main__":
    run_step(write_inventory)
