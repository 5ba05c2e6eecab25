"""Step: the manifest of a folder on disk, which is read and never written to."""

import argparse
from pathlib import Path

from workflow_scripts.core.command import run_step
from workflow_scripts.core.config.datasets import LocalDataset
from workflow_scripts.core.files import BadFile
from workflow_scripts.data.manifest import take_inventory, write_manifest


def main() -> None:
    """Parse the arguments and write the manifest."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", type=LocalDataset.model_validate_json, required=True, help="JSON of the dataset")
    parser.add_argument("--tree", type=Path, required=True, help="folder that holds training/, validation-public/, …")
    parser.add_argument("--manifest", type=Path, required=True, help="JSON to write")
    arguments = parser.parse_args()
    # The folder's place is this machine's affair: the manifest describes what is in it.
    manifest = take_inventory(arguments.tree, {"source": arguments.spec.source})
    if not manifest["files"]:
        raise BadFile(f"{arguments.tree} holds no files; give the folder that holds `training/`")
    write_manifest(arguments.manifest, manifest)
    print(f"inventory: {len(manifest['files'])} files")


if __name__ == "__main__":
    run_step(main)
