"""Step: unpack every zip of a tree beside itself; what was cut off or is damaged on disk is completed."""

import argparse
from pathlib import Path

from tqdm import tqdm

from workflow_scripts.core.command import run_step
from workflow_scripts.core.files import BadFile
from workflow_scripts.data.conversion.process_pool import ProcessPool, cores
from workflow_scripts.data.downloading.archives import unpack


def unpack_archives(root: Path, jobs: int) -> list[Path]:
    """Unpack the zips of all data sets, several at a time.

    Returns:
        The folders.

    Raises:
        BadFile: `tree` is no folder, or an archive is damaged or not safe.
    """
    if not root.is_dir():
        raise BadFile(f"{root} is not a folder; give the folder that holds `training/`")
    archives = sorted(root.glob("*/*/*/*.zip"))
    with ProcessPool(min(jobs, len(archives))) as pool:
        done = pool.each(unpack, [(archive,) for archive in archives])
        return list(tqdm(done, desc="unpack", total=len(archives), unit="zip", mininterval=1))


def main() -> None:
    """Parse the arguments and unpack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder that holds training/, validation-public/, …")
    parser.add_argument("--jobs", type=int, default=cores(), help="archives at a time")
    a = parser.parse_args()
    print(f"unpack: {len(unpack_archives(a.root, a.jobs))} archives are unpacked and verified")


if __name__ == "__main__":
    run_step(main)
