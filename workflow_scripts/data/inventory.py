"""Step: the manifest of a folder on disk, which is read and never written to."""

import argparse
from pathlib import Path

from workflow_scripts.cache.folders import Seen, read_seen, stamps_below, write_seen
from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.datasets import LocalDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.core.manifest import take_inventory, write_manifest


def main() -> None:
    """Parse the arguments and write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=LocalDataset.model_validate_json, required=True, help="JSON of the dataset")
    parser.add_argument("--root", type=Path, required=True, help="folder that holds training/, validation-public/, …")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON to write")
    parser.add_argument("--identity", default="", help="what the plan calls the state of the tree")
    parser.add_argument("--seen", type=Path, help="record of sizes, times and hashes for later plans")
    arguments = parser.parse_args()
    if not arguments.root.is_dir():
        raise BadFile(f"{arguments.root} is not a folder; give the folder that holds `training/`")
    stamps = stamps_below(arguments.root)
    # The folder's place is this machine's affair: the manifest describes what is in it.
    seen = read_seen(arguments.seen) if arguments.seen else None
    manifest = take_inventory(arguments.root, {"source": arguments.spec.source}, seen)
    if not manifest["files"]:
        raise BadFile(f"{arguments.root} holds no files; give the folder that holds `training/`")
    if arguments.seen:
        hashes = {entry["path"]: entry["sha256"] for entry in manifest["files"] if entry["path"] in stamps}
        stamps = {path: stamps[path] for path in hashes}
        write_seen(arguments.seen, Seen(arguments.identity, stamps, hashes))
    write_manifest(arguments.manifest, manifest)
    print(f"inventory: {len(manifest['files'])} files")


if __name__ == "__main__":
    run_step(main)
